"""The worker: `tenure worker MODULE:APP`, from a leased job to its ack.

    broker ◄──► supervisor (this process: no user code) ◄── pipe ──► children (`worker.child`)

The parent never imports what it runs: leases are extended, acks delivered and signals
answered whatever user code does to its own process.
"""
