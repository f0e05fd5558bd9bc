"""Errors of the operating system: every call that touches the data directory fails once, in turn.

For each scene (a broker from its start to its stop, a backup, a compaction, ...), each kind of
call and each error: the first such call fails, in the next run the second, and so on until a run
in which nothing failed. After each run:

    the process ended with a code that is documented, and said why, without a traceback
    whoever waited for an answer was told, or cut off
    what was confirmed is in the directory, and still so if what was not synced is lost
    a start without errors works, and ends in order
"""

from __future__ import annotations

import errno
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tenure_server import exits
from tenure_storage.capacity import RESERVE_NAME
from tests.power.campaign import judge
from tests.power.disk import Disk
from tests.power.images import NAMES, Choice, content, write_files
from tests.power.promises import Promises
from tests.power.recovery import look_apart
from tests.power.scenes import SCENES, TOOLS, Scene
from tests.power.trace import SHORT_WRITE, Event, Kind, Op, read_trace
from tests.power.zygote import NEVER, Failure, Zygote

ERRORS: dict[Kind, tuple[int, ...]] = {
    Kind.WRITE: (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR, SHORT_WRITE),
    Kind.SYNC: (errno.EIO, errno.ENOSPC, errno.EDQUOT),
    Kind.OPEN: (errno.EIO, errno.ENOSPC, errno.EMFILE),
    Kind.SIZE: (errno.EIO, errno.ENOSPC),
    Kind.NAME: (errno.EIO, errno.ENOSPC),
    Kind.MMAP: (errno.ENOMEM, errno.EIO),
}
"""What each kind of call can fail with."""
ONCE_ONLY = (errno.EINTR,)
"""Errors that do not last: a program that meets them for ever may try for ever."""

EARLY_CUTS_MAX = 3
"""So many confirmations after a failure are followed by a power cut."""

BROKER_CODES = (exits.OK, exits.UNCLEAN, exits.CANNOT_CREATE, exits.IO_ERROR)
TOOL_CODES = (0, 1)


# ---- after a run -----------------------------------------------------------------------------


class Outcome(NamedTuple):
    """One run, judged."""

    fired: int
    """How many calls failed."""
    code: int | None
    faults: list[str]
    said: str
    """What the process wrote."""


def trial(
    name: str, zygote: Zygote, directory: Path, failure: Failure, control: str = ""
) -> Outcome:
    """One scene with one failure, and perhaps with a fault planted that must be found."""
    scene = Scene(zygote, directory, failure, control)
    try:
        SCENES[name](scene)
        scene.mark.close()
        events = read_trace(scene.trace)
        fired = sum(event.op == Op.FAILED for event in events)
        _judge_end(name, scene)
        _judge_disk(scene, events)
        if not scene.faults:
            _start_again(scene)
    finally:
        scene.mark.close()
    said = scene.log.read_text(errors="replace") if scene.log.exists() else ""
    return Outcome(fired, scene.code, scene.faults, said)


def _judge_end(name: str, scene: Scene) -> None:
    said = scene.log.read_text(errors="replace") if scene.log.exists() else ""
    known = TOOL_CODES if name in TOOLS else BROKER_CODES
    if scene.code not in known:
        scene.faults.append(f"it ended with {scene.code}, and {known} are what is documented")
    if "Traceback" in said:
        scene.faults.append("it wrote a traceback")
    if "store_close_failed" in said and scene.code == 0:
        scene.faults.append("its store could not be closed, and the exit code hides that")
    if scene.code and not said.strip():
        scene.faults.append(f"it ended with {scene.code} without a word")


def _judge_disk(scene: Scene, events: list[Event]) -> None:
    """What is promised, in the directory as it is, and on what power cuts would leave of it.

    The cuts come at the end, and at the first confirmations after a call had failed: what was
    confirmed wrongly then may be made good by something that comes later.
    """
    disk, promises = scene.before, scene.promised
    assert disk is not None
    failed, cuts = False, 0
    for number, event in enumerate(events):
        failed = failed or event.op == Op.FAILED
        if event.op != Op.MARK:
            disk.feed(event)
        elif promises.feed(json.loads(event.data)) and failed and cuts < EARLY_CUTS_MAX:
            cuts += 1
            _cut(scene, disk, promises, Choice("none", 0, "late"), f"at event {number}")
    copied = scene.root.with_name("now")
    shutil.copytree(scene.root, copied, ignore=shutil.ignore_patterns(RESERVE_NAME))
    _hold(scene, copied, promises, "as it is")
    ways = NAMES if disk.pending_names() else NAMES[:1]
    choices = [Choice("none", 0, way) for way in ways]
    if disk.pending():
        choices += [Choice("all", 0, "early")]
        choices += [Choice("random", number, "early") for number in range(3)]
    for choice in choices:
        _cut(scene, disk, promises, choice, "at the end")


def _cut(scene: Scene, disk: Disk, promises: Promises, choice: Choice, when: str) -> None:
    image = scene.root.with_name("image")
    image.mkdir()
    write_files(content(disk, choice), image)
    _hold(scene, image, promises, f"after a power cut {when} {tuple(choice)}")


def _hold(scene: Scene, root: Path, promises: Promises, when: str) -> None:
    scratch = root.with_name("scratch-of-it")
    scratch.mkdir()
    wrong = judge(look_apart(root, scratch, "data"), promises)
    scene.faults += [f"{when}: {each}" for each in wrong[:5]]
    shutil.rmtree(scratch)
    shutil.rmtree(root)


def _start_again(scene: Scene) -> None:
    """A start with a disk that works, and an end in order."""
    scene.code, code = None, scene.code
    pid, url = scene.broker(NEVER, scene.log_again)
    if url is None:
        said = scene.log_again.read_text(errors="replace")
        scene.faults.append(f"it does not start again: {scene.code}: {said[-500:]}")
    elif scene.end(pid) != 0:
        said = scene.log_again.read_text(errors="replace")
        scene.faults.append(
            f"after a start without errors it ended with {scene.code}: {said[-500:]}"
        )
    scene.code = code


# ---- all of them -----------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What came of the runs of one scene."""

    runs: int = 0
    fired: int = 0
    """Runs in which a call failed."""
    sites: Counter[str] = field(default_factory=Counter)
    codes: Counter[int | None] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)


def failures(kind: Kind, number: int) -> Iterator[Failure]:
    """Every way in which call number `number` of a kind can fail."""
    for error in ERRORS[kind]:
        yield Failure(int(kind), number, error, persist=False)
        if error not in ONCE_ONLY:
            yield Failure(int(kind), number, error, persist=True)


def told(failure: Failure) -> str:
    """A failure in words, which `--failure` takes too."""
    error = "SHORT" if failure.error == SHORT_WRITE else errno.errorcode[failure.error]
    how = "on" if failure.persist else "once"
    return f"{Kind(failure.kinds).name}:{failure.number}:{error}:{how}"


def read_failure(text: str) -> Failure:
    """The other way round. Raises `ValueError` or `KeyError`."""
    kind, number, error, how = text.split(":")
    code = SHORT_WRITE if error == "SHORT" else int(getattr(errno, error))
    return Failure(int(Kind[kind]), int(number), code, how == "on")


def try_scene(
    name: str,
    zygote: Zygote,
    directory: Path,
    *,
    every: int = 1,
    offset: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Tally:
    """Each call of a scene fails in each way; of all those runs one in `every`, from `offset` on."""
    tally, numbers, turn = Tally(), itertools.count(), offset
    for kind in Kind:
        for number in itertools.count(1):
            fired_at_all = None
            for failure in failures(kind, number):
                turn += 1
                if turn % every:
                    continue
                place = directory / f"{name}-{next(numbers)}"
                place.mkdir()
                outcome = trial(name, zygote, place, failure)
                shutil.rmtree(place)
                fired_at_all = bool(fired_at_all) or outcome.fired > 0
                _count(tally, name, kind, failure, outcome, say)
            if fired_at_all is False:
                break
    return tally


def _count(
    tally: Tally,
    name: str,
    kind: Kind,
    failure: Failure,
    outcome: Outcome,
    say: Callable[[str], None],
) -> None:
    tally.runs += 1
    tally.fired += outcome.fired > 0
    tally.codes[outcome.code] += 1
    if outcome.fired:
        tally.sites[str(kind.name)] = max(tally.sites[str(kind.name)], failure.number)
    if outcome.faults:
        words = f"{name} {told(failure)}: {outcome.faults[:3]}\n{outcome.said[-1500:]}"
        tally.bad.append(words)
        say(words)
