"""Tenure's tasks beside the task frameworks that people use today.

Run `python -m bench.peers.frameworks`. Every framework is run as its documents say, by its own
worker command, with the same no-op task; the rows are those of `bench.peers.results`.

    __main__   the command line: the rounds, then the report
    catalog    which frameworks, how each is run, and how many jobs it gets
    missing    what this machine lacks of them, and the line that installs it
    brokers    what is behind them: Tenure, Redis, RabbitMQ, PostgreSQL
    processes  the workers: starting them, CPU time, ending them
    rounds     what is measured of one framework in one round
    syncs      how many syncs of the disk a job takes (strace)
    producer   the program that enqueues;  marks  how a task says that it began
    apps/      the app of each framework: the code of a user (outside the type checks, which
               know no package of theirs);  tenure_app  the same for Tenure
    report     the tables
"""
