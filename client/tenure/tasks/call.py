"""`Call`: a task with its arguments, checked and encoded, not sent yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from tenure.tasks.task import Task

R_co = TypeVar("R_co", covariant=True)


class Call(Generic[R_co]):
    """What `task.s(...)` makes: the arguments were checked, and travel as `payload`.

    A plain class: programs make millions of these.
    """

    __slots__ = ("payload", "task", "unique")

    def __init__(
        self, task: Task[..., R_co], payload: dict[str, Any], unique: str | None = None
    ) -> None:
        self.task = task
        self.payload = payload
        self.unique = unique

    def __repr__(self) -> str:
        return f"{self.task.name}.s({', '.join(f'{k}={v!r:.40}' for k, v in self.payload.items())})"
