"""Tenure beside the brokers that people use today: the same work, in one run, interleaved.

Run `python -m bench.peers` (or `make bench-peers`). Every broker is a real server process,
the load comes from Python processes that are arranged alike for all, and each one's
durability is stated and counted.

    __main__   the command line: runs the rounds, then writes the report
    results    the record of one figure, as JSON lines: what all parts agree on
    catalog    which peers there are, how each is run, and what it needs on this machine
    launches   the servers' command lines;  supervision  starting, pausing, ending them
    contract, drivers/   one client per peer;  load, crew  the processes that use them
    clients, stage   the parent's side: whose turn it is, and the machine beside it
    rates, backlog, syncs   what is measured
    frameworks/   task frameworks: rows of the same record
    summary, report   the tables and charts
"""
