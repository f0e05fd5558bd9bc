"""The whole system in one thread, in virtual time, under faults, checked against its promises.

What is real: the engine, the hub, the pump, the connections, the broker's life, the journaled
store with its journal and its recovery, the clients with their sessions and links. What is
simulated: time, the network, the disk and the LMDB beneath the journal. One seed is one history.
"""
