"""How fast Tenure is, on this machine, beside what its disk can do.

Run `python -m bench` (or `make bench`). The broker is a real server process and the load
comes from other processes over loopback; every confirmation waits for an fsync.

    __main__   the command line
    workloads  what is measured: one function per group of rows
    stage      how it is measured: processes, clocks, CPU, the disk beside it
    broker     the server process;  load, roles_*  the client processes
    rows, aims, report   the figures, what they should be, and the table
"""
