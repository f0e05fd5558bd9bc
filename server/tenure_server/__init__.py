"""The daemon: the engine (`engine/`, pure) and the shell around it, which owns sockets, disk and time.

    socket ─► Connection ─► Engine.execute ─► Pump: seal ─► Store.submit ─► announce ─► Connection ─► socket

`main.run` starts a broker; everything that reads a clock, a socket or a signal is outside `engine/`.
"""
