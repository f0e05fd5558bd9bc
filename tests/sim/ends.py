"""How a simulated process ends in the middle of whatever it does."""


class CrashError(BaseException):
    """The broker's process ends here: nothing after this point happens."""
