"""Does by hand what the Dockerfile tells a builder to do, then runs the result as the image would.

The COPY and RUN lines of the build stage are taken from the Dockerfile itself and done in a
temporary directory; then the server is started with the image's ENTRYPOINT and CMD (on free
ports), in a directory it cannot write to, its data directory owned by the image's user where
this one may switch users. It must become healthy by the image's HEALTHCHECK, and end with exit
code 0 on the image's STOPSIGNAL. What needs a container engine is named at the end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UID = 10001
STARTS_WITHIN_S = 30
STOPS_WITHIN_S = 30


def main() -> int:
    """Everything in turn; 0 if all of it worked."""
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    build, final = re.split(r"^FROM .*$", dockerfile, flags=re.MULTILINE)[1:]
    with tempfile.TemporaryDirectory(prefix="tenure-image-") as name:
        place = Path(name)
        place.chmod(0o755)  # the image's user must get in
        build_by_hand(build, place)
        run_as_image(final, place)
    print("ok. Not checked here: the base image, user creation, and everything a container engine")
    print("enforces (read-only root, dropped capabilities, volume ownership).")
    return 0


def build_by_hand(stage: str, place: Path) -> None:
    """The COPY and RUN lines of a stage, below `place` instead of below `/`."""
    source = place / "src"
    source.mkdir()
    for keyword, rest in re.findall(r"^(COPY|RUN) +(.*)$", stage, re.MULTILINE):
        if keyword == "COPY":
            *names, target = rest.split()
            for each in names:
                copy(ROOT / each, source / (each if target == "./" else target))
            continue
        line = re.sub(r"(?<![\w.])/(wheels|opt/tenure)\b", rf"{place}/\1", rest)
        line = re.sub(r"^python\b", sys.executable, line)
        told(f"RUN {rest}")
        subprocess.run(["bash", "-euc", line], cwd=source, check=True, env=plain_environment())


def run_as_image(stage: str, place: Path) -> None:
    """Starts, asks and stops what was built."""
    entry = words_of(stage, r"^ENTRYPOINT (.*)$")
    command = words_of(stage, r"^CMD (.*)$")
    health = words_of(stage, r"^HEALTHCHECK .*CMD (.*)$")
    stop = signal.Signals[re.findall(r"^STOPSIGNAL (\w+)$", stage, re.MULTILINE)[0]]
    tools = place / "opt/tenure/bin"
    environment = plain_environment() | {"PATH": f"{tools}:/usr/bin:/bin", "HOME": "/nonexistent"}
    subprocess.run([tools / "tenure", "version"], check=True, env=environment)

    data, unwritable, outside = (place / each for each in ("data", "unwritable", "outside"))
    for directory in (data, unwritable, outside):
        directory.mkdir()
    prefix: list[str] = []
    if os.geteuid() == 0 and shutil.which("setpriv"):
        os.chown(data, UID, UID)
        os.chown(outside, UID, UID)
        prefix = unprivileged()
    data.chmod(0o750)
    unwritable.chmod(0o555)
    port_file = outside / "ports.json"
    words = [re.sub(r":(7733|7780)$", ":0", word) for word in entry + command]
    words = [str(data) if word == "/data" else word for word in words]
    told(" ".join([*prefix[:1], *words]))
    words[0] = str(tools / words[0])
    with subprocess.Popen(
        [*prefix, *words, "--port-file", str(port_file)], cwd=unwritable, env=environment
    ) as broker:
        try:
            port = wait_for_port(port_file, broker)
            told(" ".join(health))
            url = {"TENURE_URL": f"tenure://127.0.0.1:{port}"}
            subprocess.run([tools / health[0], *health[1:]], check=True, env=environment | url)
            told(stop.name)
            broker.send_signal(stop)
            code = broker.wait(STOPS_WITHIN_S)
        finally:
            if broker.poll() is None:
                broker.kill()
    if code != 0:
        sys.exit(f"error: the broker ended with exit code {code}")
    if any(unwritable.iterdir()) or not any(data.iterdir()):
        sys.exit("error: the broker wrote somewhere else than to its data directory")


def words_of(stage: str, pattern: str) -> list[str]:
    """The words of the one line in exec form that `pattern` finds."""
    (line,) = re.findall(pattern, stage, re.MULTILINE)
    words: list[str] = json.loads(line)
    return words


def unprivileged() -> list[str]:
    """A command prefix that switches to the image's user, who may read everything and write nothing."""
    reading = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    return ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", *reading]


def wait_for_port(port_file: Path, broker: subprocess.Popen[bytes]) -> int:
    """The port the broker chose, once it is ready."""
    ends = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < ends and broker.poll() is None:
        if port_file.exists():
            port: int = json.loads(port_file.read_text("utf-8"))["listen"][1]
            return port
        time.sleep(0.05)
    sys.exit("error: the broker did not get ready")


def plain_environment() -> dict[str, str]:
    """The environment without what belongs to this checkout."""
    ours = ("TENURE_", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def copy(source: Path, target: Path) -> None:
    """A file or a directory, without caches."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, target)


def told(text: str) -> None:
    """Says what is being done, at once."""
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
