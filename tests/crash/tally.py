"""What journals say since they were last looked at; cheap enough to ask after every round."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path


class Tally:
    """Reads what was appended to the journals of a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, int] = {}

    def new(self) -> Counter[str]:
        """Jobs (or lines, of events without jobs) by event, of the lines that are new."""
        counts: Counter[str] = Counter()
        for path in self._directory.glob("*.journal"):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                text = file.read()
            # The last line may be half written.
            whole = text[: text.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            for raw in whole.splitlines():
                try:
                    line = json.loads(raw)
                except ValueError:
                    continue
                counts[line["event"]] += len(line["jobs"]) if "jobs" in line else 1
        return counts
