"""How fast Tenure is, on this machine, beside what its disk can do.

Run `python -m bench` (or `make bench`). The broker is a real server process and the load
comes from other processes over loopback; every confirmation waits for an fsync.

    __main__   the command line
    workloads, taskrows  what is measured: one function per group of rows
    stage      how it is measured: processes, clocks, CPU, the disk beside it
    broker     the server process;  load, roles_*  the client processes
    worker     the worker process, which runs the tasks of tasks_app
    rows, aims, report   the figures, what they should be, and the table
"""
