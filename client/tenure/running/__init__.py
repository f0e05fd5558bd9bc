"""Running one job: from a delivery to its outcome, in a loop, a thread or a process.

`Runner` runs; `Port` is how a running job talks to whoever holds its lease; `JobControl` stops
it. Nothing here knows a broker or a worker: the worker's children, the test kit and the eager
mode bring their own ports.
"""
