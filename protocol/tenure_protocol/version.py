"""The version of Tenure: of its clients, its workers and its broker, which are released together.

It stands here and nowhere else; the package is built with it. Asking the installed distribution
(`importlib.metadata`) took a tenth of a broker's start.
"""

VERSION = "0.1.0"
