"""Power cuts and errors of the operating system, for as long as you like.

python -m tests.power images --images 20000 --seed 1 --jobs 2
python -m tests.power images --workload ring --images 0       every image of one workload
python -m tests.power controls                                faults that must be found
python -m tests.power errors                                  every call, every error
python -m tests.power errors --every 10                       one run in ten
python -m tests.power errors --scene backup --failure SYNC:3:EIO:once
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.power import shim
from tests.power.campaign import Recording, Result, cut_again, record, try_images
from tests.power.controls import CONTROLS
from tests.power.errors import read_failure, trial, try_scene
from tests.power.launch import ERRORS_IGNORED
from tests.power.scenes import SCENES
from tests.power.stage import scratch_parent
from tests.power.workloads import WORKLOADS
from tests.power.zygote import Zygote

SLOW_US = 1_500
CUT_AGAIN = ("one-by-one", "batches", "ring", "everything", "first-start")


def main() -> int:
    """The exit code: 0 if every promise was kept (or, for controls, every fault found)."""
    given = _arguments()
    with tempfile.TemporaryDirectory(prefix="power-", dir=scratch_parent()) as name:
        directory = Path(name)
        try:
            library = shim.build(directory)
        except RuntimeError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        if given.what == "images":
            return images(given, library, directory)
        if given.what == "controls":
            return controls(given, library, directory)
        return errors(given, library, directory)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.power", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("what", choices=["images", "controls", "errors"])
    parser.add_argument(
        "--images", type=int, default=5_000, help="how many, over all; 0: every one"
    )
    parser.add_argument("--seed", type=int, default=1, help="chooses and tears")
    parser.add_argument("--jobs", type=int, default=2, help="processes that open images")
    parser.add_argument("--workload", choices=sorted(WORKLOADS), action="append")
    parser.add_argument("--again", type=int, default=10, help="starts in which power fails again")
    parser.add_argument("--scene", choices=sorted(SCENES), action="append")
    parser.add_argument("--every", type=int, default=1, help="one run in so many")
    parser.add_argument("--failure", help="only this one: KIND:NUMBER:ERROR:once|on")
    return parser.parse_args()


# ---- images ----------------------------------------------------------------------------------


def images(given: argparse.Namespace, library: Path, directory: Path) -> int:
    """Records the workloads and tries the images."""
    names = given.workload or list(WORKLOADS)
    again = 0 if given.workload else given.again
    share = -(-given.images // (len(names) + (1 if again else 0)))
    results = []
    for recording in _recordings(names, again, given.seed, library, directory):
        part = recording.name.startswith("cut-again")
        count = -(-share // again) if part else share
        began = time.monotonic()
        result = try_images(recording, images=count, seed=given.seed, jobs=given.jobs, say=_say)
        _say(f"{told(result)} in {time.monotonic() - began:.0f} s")
        results.append(result)
    bad = sum(result.bad for result in results)
    _say(
        f"{len(results)} recordings, {sum(r.moments for r in results)} moments,"
        f" {sum(r.checked for r in results)} images checked, {sum(r.opened for r in results)} of"
        f" them different and opened, of {sum(r.possible for r in results)} possible:"
        f" {bad} broke a promise (seed {given.seed})"
    )
    if bad:
        _say(f"repeat it with: python -m tests.power images --seed {given.seed} --workload NAME")
    return 1 if bad else 0


def _recordings(
    names: list[str], again: int, seed: int, library: Path, directory: Path
) -> Iterator[Recording]:
    kept = []
    for number, name in enumerate(names):
        # Half of them with slow syncs: whoever does not wait for one is seen.
        slow = SLOW_US * ((seed + number) % 2)
        made = record(WORKLOADS[name], library, directory / name, slow_us=slow)
        if name in CUT_AGAIN:
            kept.append(made)
        yield made
    chance = random.Random(seed)
    for number in range(again if kept else 0):
        workload = cut_again(chance.choice(kept), chance.randrange(1 << 30))
        yield record(workload, library, directory / f"again-{number}")


def told(result: Result) -> str:
    """A result in one line, and what went wrong below it."""
    line = (
        f"{result.name}: {result.events} events, {result.moments} moments, {result.checked} images"
        f" checked of {result.possible}, {result.opened} opened: {result.bad} bad"
    )
    if result.bad:
        line += f" {dict(result.kinds)}\n  " + "\n  ".join(result.examples)
    return line


# ---- controls --------------------------------------------------------------------------------


def controls(given: argparse.Namespace, library: Path, directory: Path) -> int:
    """Takes each protection away, and shows that the images tell."""
    missed = []
    for number, (name, control) in enumerate(CONTROLS.items()):
        workload = WORKLOADS[control.workload]
        made = record(
            workload, library, directory / str(number), unsynced=control.unsynced,
            control=control.fault,
        )  # fmt: skip
        count = min(given.images, 500) or 500
        result = try_images(made, images=count, seed=given.seed, jobs=given.jobs)
        _say(f"{name}: {told(result)}")
        if not result.bad:
            missed.append(name)
    name = "a failed sync of the journal is taken no notice of"
    with Zygote(library) as zygote:
        place = directory / "errors"
        place.mkdir()
        failure = read_failure("SYNC:9:EIO:once")
        faults = trial("first-life", zygote, place, failure, ERRORS_IGNORED).faults
    _say(f"{name}: {faults[:2]}")
    if not faults:
        missed.append(name)
    count = len(CONTROLS) + 1
    _say(f"{count - len(missed)} of {count} faults found; missed: {missed or 'none'}")
    return 1 if missed else 0


# ---- errors ----------------------------------------------------------------------------------


def errors(given: argparse.Namespace, library: Path, directory: Path) -> int:
    """Lets calls fail."""
    bad, runs, fired = 0, 0, 0
    with Zygote(library) as zygote:
        for name in given.scene or list(SCENES):
            if given.failure:
                place = directory / name
                place.mkdir()
                outcome = trial(name, zygote, place, read_failure(given.failure))
                _say(f"{name}: {outcome.fired} calls failed, it ended with {outcome.code}")
                _say("\n".join([*outcome.faults, outcome.said]))
                bad += bool(outcome.faults)
                continue
            began = time.monotonic()
            tally = try_scene(
                name, zygote, directory, every=given.every, offset=given.seed, say=_say
            )
            runs, fired, bad = runs + tally.runs, fired + tally.fired, bad + len(tally.bad)
            _say(
                f"{name}: {tally.runs} runs, in {tally.fired} a call failed; calls by kind"
                f" {dict(tally.sites)}; exit codes {dict(tally.codes)}; {len(tally.bad)} bad,"
                f" in {time.monotonic() - began:.0f} s"
            )
    _say(f"{runs} runs, in {fired} of them a call failed: {bad} broke a promise")
    if bad:
        _say(
            "repeat one with: python -m tests.power errors --scene NAME --failure KIND:N:ERROR:HOW"
        )
    return 1 if bad else 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
