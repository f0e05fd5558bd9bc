"""The client without I/O: what both shells, `tenure.client` and `tenure.aio`, share.

    operation ──► Command ──► Session.submit ──► bytes ──► (the shell's socket)
    (the shell's caller) ◄── Call ◄── Session.receive ◄── bytes ◄──┘

`work`, `settle` and `admin` hold one function for each operation: it builds the arguments
and knows how to read the result. `session` owns request ids, pending calls, deadlines and
repeats; `reconnect` decides when and where to connect again. Time comes in as an argument.
"""
