"""A worker's child process: the only place where the app is imported and its jobs run.

    python -m tenure.worker.child --fd N --app MODULE:APP --role host|single|isolated

It speaks with its parent over a socket pair (`tenure.worker.pipe`), and ends at once when that
closes. A host runs many jobs, on an event loop and in threads; a single one after another in its main
thread; an isolated one job, and exits.
"""
