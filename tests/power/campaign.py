"""Records a workload, and tries the images that a power cut could leave at every moment of it.

    recording ──► moments (after every call that changes what a cut leaves, and every confirmation)
              ──► choices of what is on the disk ──► image ──► recovery ──► what it holds ──► promises

The images are opened in processes of their own: LMDB may end a process that opens a bad file.
"""

from __future__ import annotations

import copy
import faulthandler
import hashlib
import json
import os
import random
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.power.disk import Disk
from tests.power.images import Choice, Files, choices_at, content, is_plain, write_files
from tests.power.launch import BLOCK_BYTES, prepare
from tests.power.promises import Promises, broken
from tests.power.recovery import Seen, look
from tests.power.stage import Stage, scratch_parent
from tests.power.trace import Event, Op, read_trace
from tests.power.workloads import Workload
from tests.power.zygote import Zygote

RANDOM_PER_MOMENT = 4
SEEN_MAX = 3_000
"""How many opened images are remembered, to know one that comes again."""


class Recording(NamedTuple):
    """What happened, and what was there before."""

    name: str
    events: list[Event]
    before: Disk
    promised: Promises
    data: str
    journal_bytes: int


class Moment(NamedTuple):
    """After event number `at`, with the images to try then."""

    at: int
    choices: list[Choice]


@dataclass(slots=True)
class Result:
    """What came of the images."""

    name: str
    events: int = 0
    moments: int = 0
    possible: int = 0
    checked: int = 0
    """Images held against what was promised at their moment."""
    opened: int = 0
    """Those of them that no other one equals."""
    bad: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


def record(
    workload: Workload,
    runner: Path | Zygote,
    directory: Path,
    *,
    unsynced: str = "",
    control: str = "",
    slow_us: int = 0,
) -> Recording:
    """Runs a workload under the shim; see `Stage`."""
    stage = Stage(
        directory,
        runner,
        journal_blocks=workload.journal_blocks,
        unsynced=unsynced,
        control=control,
        slow_us=slow_us,
        data=workload.data,
    )
    promised = Promises()
    try:
        if workload.prepare is not None:
            workload.prepare(stage.root)
            promised.allowed = _held_by(stage.root, directory, workload.data)
        before = Disk(stage.root)
        workload.run(stage)
    finally:
        stage.close()
    events = read_trace(stage.trace)
    size = workload.journal_blocks * BLOCK_BYTES
    return Recording(workload.name, events, before, promised, workload.data, size)


def _held_by(root: Path, directory: Path, data: str) -> dict[str, Any]:
    copied = directory / "copy"
    shutil.copytree(root, copied)
    seen = look(copied, directory, data)
    shutil.rmtree(copied)
    assert not seen.faults, seen.faults
    return {key: frozenset({state}) for key, state in seen.jobs.items()}


def cut_again(recording: Recording, seed: int) -> Workload:
    """A workload: a start on an image of another recording, so that power fails in recovery too."""
    chance = random.Random(seed)
    files: Files = {}
    wanted = chance.randrange(sum(1 for _ in replay(recording)))
    for number, (_, disk, _) in enumerate(replay(recording)):
        if number == wanted:
            choices = list(choices_at(disk, seed, RANDOM_PER_MOMENT))
            files = content(disk, chance.choice(choices))
            break

    def start(stage: Stage) -> None:
        stage.run("open", str(stage.data))

    return Workload(
        f"cut-again-{recording.name}",
        start,
        journal_blocks=recording.journal_bytes // BLOCK_BYTES,
        data=recording.data,
        prepare=lambda root: write_files(files, root),
    )


# ---- moments ---------------------------------------------------------------------------------


def replay(recording: Recording) -> Iterator[tuple[int, Disk, Promises]]:
    """Every moment at which there is something to try: its number, the disk, what is promised."""
    disk, promises = copy.deepcopy(recording.before), copy.deepcopy(recording.promised)
    version = -1
    for at, event in enumerate(recording.events):
        promised_more = False
        if event.op == Op.MARK:
            promised_more = promises.feed(json.loads(event.data))
        else:
            disk.feed(event)
        if promised_more or disk.version != version:
            version = disk.version
            yield at, disk, promises


def plan(recording: Recording, *, images: int, seed: int) -> tuple[list[Moment], int]:
    """Which images to try (about `images` of them, 0: all), and how many there are."""
    every = [
        (at, choice)
        for at, disk, _ in replay(recording)
        for choice in choices_at(disk, seed * 1_000_000 + disk.version, RANDOM_PER_MOMENT)
    ]
    chosen = every
    if images and images < len(every):
        chance = random.Random(seed)
        plain = [each for each in every if is_plain(each[1])]
        others = [each for each in every if not is_plain(each[1])]
        if len(plain) > images // 2:
            plain = chance.sample(plain, images // 2)
        chosen = sorted(plain + chance.sample(others, min(len(others), images - len(plain))))
    moments: dict[int, list[Choice]] = {}
    for at, choice in chosen:
        moments.setdefault(at, []).append(choice)
    return [Moment(at, choices) for at, choices in sorted(moments.items())], len(every)


# ---- trying them -----------------------------------------------------------------------------


def try_images(
    recording: Recording,
    *,
    images: int,
    seed: int,
    jobs: int = 2,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Opens the images and holds them against the promises."""
    moments, possible = plan(recording, images=images, seed=seed)
    result = Result(recording.name, len(recording.events), len(moments), possible)
    with tempfile.TemporaryDirectory(prefix="power-", dir=scratch_parent()) as directory:
        shares = [moments[number::jobs] for number in range(jobs)]
        running = {}
        for number, share in enumerate(shares):
            report = Path(directory) / f"report-{number}"
            running[_fork(recording, share, report, 0)] = (share, report)
        while running:
            pid, (share, report) = running.popitem()
            _, status = os.waitpid(pid, 0)
            after = _gather(report, result, status)
            if after is not None and after < len(share):
                say(f"{recording.name}: an opening process was ended by an image; going on")
                running[_fork(recording, share, report, after)] = (share, report)
    return result


def _fork(recording: Recording, share: list[Moment], report: Path, begin: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        with report.open("w") as lines:
            # A bad image may end this process; that is noted, and no accident.
            faulthandler.disable()
            prepare(recording.journal_bytes)
            _work(
                recording,
                share,
                begin,
                report.parent,
                lambda line: print(json.dumps(line), file=lines, flush=True),
            )
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _gather(report: Path, result: Result, status: int) -> int | None:
    """Adds a report to the result; the moment to go on from if its process did not end well."""
    last: dict[str, Any] = {"index": -1, "at": -1, "choice": []}
    for line in report.read_text().splitlines():
        told = json.loads(line)
        if "opened" in told:
            result.opened += told["opened"]
            result.checked += told["checked"]
        elif "bad" in told:
            result.bad += 1
            result.kinds.update({problem.split(":")[0] for problem in told["bad"]})
            if len(result.examples) < 5:
                result.examples.append(
                    f"after event {told['at']}, {tuple(told['choice'])}: {told['bad'][:3]}"
                )
        else:
            last = told
    if status == 0:
        return None
    if not os.WIFSIGNALED(status):
        raise RuntimeError("an opening process failed; its traceback is above")
    result.bad += 1
    result.kinds["killed the process"] += 1
    if len(result.examples) < 5:
        result.examples.append(f"after event {last['at']}, {last['choice']}: killed the process")
    return int(last["index"]) + 1


def _work(
    recording: Recording,
    share: list[Moment],
    begin: int,
    scratch: Path,
    tell: Callable[[dict[str, Any]], None],
) -> None:
    """Tries a share of the moments, from number `begin` on."""
    wanted = {moment.at: index for index, moment in enumerate(share) if index >= begin}
    known: dict[bytes, Seen] = {}
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        for at, disk, promises in replay(recording):
            if at not in wanted:
                continue
            opened = 0
            choices = share[wanted[at]].choices
            for choice in choices:
                files = content(disk, choice)
                digest = _digest(files)
                seen = known.get(digest)
                if seen is None:
                    tell({"index": wanted[at], "at": at, "choice": choice})
                    opened += 1
                    seen = _open(files, Path(directory), recording.data)
                    if len(known) < SEEN_MAX:
                        known[digest] = seen
                problems = judge(seen, promises)
                if problems:
                    tell({"bad": problems[:20], "at": at, "choice": choice})
            tell({"opened": opened, "checked": len(choices)})


def _digest(files: Files) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for path, data in files.items():
        digest.update(f"{path}\0{-1 if data is None else len(data)}\0".encode())
        digest.update(data or b"")
    return digest.digest()


def _open(files: Files, directory: Path, data: str) -> Seen:
    root, scratch = directory / "image", directory / "scratch"
    for each in (root, scratch):
        shutil.rmtree(each, ignore_errors=True)
        each.mkdir()
    write_files(files, root)
    return look(root, scratch, data)


def judge(seen: Seen, promises: Promises) -> list[str]:
    """What is wrong with an image at a moment with these promises."""
    wrong = [*seen.faults, *broken(seen.jobs, promises.allowed, promises.whole.values())]
    for name, must in promises.backups.items():
        if name not in seen.backups:
            wrong.append(f"lost: the backup {name} was confirmed and is not there")
        else:
            wrong += [f"backup {name}: {each}" for each in broken(seen.backups[name], must)]
    if promises.restored is not None:
        if seen.restored is None:
            wrong.append("lost: the restored directory was confirmed and is not there")
        else:
            wrong += [f"restored: {each}" for each in broken(seen.restored, promises.restored)]
    return wrong
