"""The shortest input found that still fails the same way."""

from __future__ import annotations

from collections.abc import Callable

TRIES_MAX = 600
"""How often an input is tried smaller."""


def failure_of(run: Callable[[bytes], None], data: bytes) -> str | None:
    """How an input fails, as far as two failures can be compared; None if it does not."""
    try:
        run(data)
    except Exception as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        frame = root.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        where = f"{frame.tb_frame.f_code.co_name}" if frame is not None else ""
        return f"{type(root).__name__} in {where}"
    return None


def shrunk(run: Callable[[bytes], None], data: bytes, tries_max: int = TRIES_MAX) -> bytes:
    """`data` without what is not needed to fail as it does."""
    wanted = failure_of(run, data)
    if wanted is None:
        return data  # it is not its own fault, or not a failure but too much of something
    tries = 0
    size = max(1, len(data) // 2)
    while size and tries < tries_max:
        at = 0
        while at < len(data) and tries < tries_max:
            tries += 1
            shorter = data[:at] + data[at + size :]
            if failure_of(run, shorter) == wanted:
                data = shorter
            else:
                at += size
        size //= 2
    for at in range(len(data)):
        zeroed = data[:at] + b"\0" + data[at + 1 :]
        if tries < tries_max and zeroed != data:
            tries += 1
            if failure_of(run, zeroed) == wanted:
                data = zeroed
    return data
