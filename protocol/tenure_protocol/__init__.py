"""The wire between clients and the broker, without I/O.

A connection carries frames (`frames`), each one msgpack value (`wire`). A request
names an operation and carries its arguments; a reply carries the outcome or a coded
error (`errors`). Both sides enforce the same limits (`limits`). `PROTOCOL.md`, beside
this package, is the specification.
"""

PROTOCOL_VERSION = 1
"""The protocol this code speaks."""

PROTOCOL_VERSION_MIN = 1
"""The oldest protocol this code still speaks."""

DEFAULT_PORT = 7733
"""Where a broker listens unless told otherwise."""
