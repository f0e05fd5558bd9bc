"""What this machine lacks of a framework, and the line that installs it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from bench.peers.frameworks.brokers import KINDS
from bench.peers.frameworks.catalog import OWN, Framework
from bench.peers.frameworks.processes import ROOT

HERE = Path(__file__).resolve().parent
REQUIREMENTS = {"peers": HERE / "requirements.txt", "arq": HERE / "requirements-arq.txt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes:
    """Where the packages of the frameworks are: two environments of Python, and node_modules."""

    peers: Path = ROOT / ".venv-peers"
    arq: Path = ROOT / ".venv-arq"
    node: Path = HERE / "node_modules"

    def environment(self, home: str) -> Path:
        """The directory of an environment of Python."""
        return {"peers": self.peers, "arq": self.arq}[home]

    def program(self, framework: Framework, name: str) -> str:
        """The path of a command of the framework."""
        if framework.home in (OWN, "node"):
            return shutil.which(name) or name
        return str(self.environment(framework.home) / "bin" / name)


def missing(framework: Framework, homes: Homes) -> str:
    """The lines that install what is not there; "" when it can be measured."""
    lines = [*_broker_line(framework), *_packages_line(framework, homes)]
    return "; ".join(lines)


def _broker_line(framework: Framework) -> list[str]:
    kind = KINDS[framework.broker]
    return [] if kind.found() else [f"apt-get install {kind.package}"]


def _packages_line(framework: Framework, homes: Homes) -> list[str]:
    if framework.home == OWN:
        return []
    if framework.home == "node":
        if shutil.which("node") is None:
            return ["apt-get install nodejs npm", _npm_line(homes)]
        return [] if (homes.node / "bullmq").exists() else [_npm_line(homes)]
    if Path(homes.program(framework, framework.worker[0])).exists():
        return []
    place = homes.environment(framework.home)
    wanted = REQUIREMENTS[framework.home].relative_to(ROOT)
    return [f"python3 -m venv {_shown(place)} && {_shown(place)}/bin/pip install -r {wanted}"]


def _npm_line(homes: Homes) -> str:
    return f"npm ci --prefix {_shown(homes.node.parent)}"


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
