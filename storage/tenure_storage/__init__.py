"""The write-ahead store: what is promised when a commit is done.

When `on_done(None)` of a submitted batch is called, the batch is durable as a whole; when
it is called with an error, whether it is durable is unknown and the store must not be used
again. A batch is an ordered set of absolute values, so it can be applied twice, or shipped.
"""
