"""Charts of measurements, as SVG files that a browser and a code host can show.

Two shapes are enough: lines over something that grows or passes (backlog, connections, minutes),
and bars of several peers side by side for each row. Drawn by matplotlib, without a display.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INCHES = (8.0, 4.5)
# The same input gives the same file: no date, no random ids in it.
mpl.rcParams["svg.hashsalt"] = "tenure"


def lines(
    path: Path,
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    xlabel: str,
    ylabel: str,
    log_x: bool = False,
    log_y: bool = False,
) -> None:
    """Write one chart with a line per series; a series is its (x, y) points in order of x."""
    figure, axes = _blank(title)
    for name, points in series.items():
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            label=name,
            marker="o" if len(points) <= 12 else "",
            markersize=3,
            linewidth=1.2,
        )
    if log_x:
        axes.set_xscale("symlog" if _has_zero(x for s in series.values() for x, _ in s) else "log")
    if log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    _save(figure, axes, path)


def bars(
    path: Path,
    title: str,
    groups: Mapping[str, Mapping[str, float]],
    *,
    ylabel: str,
    log_y: bool = False,
) -> None:
    """Write one chart with a group of bars per row: `groups` maps row -> peer -> value."""
    figure, axes = _blank(title)
    peers = list(dict.fromkeys(peer for group in groups.values() for peer in group))
    width = 0.8 / max(1, len(peers))
    for place, peer in enumerate(peers):
        where = [row for row, group in enumerate(groups.values()) if peer in group]
        heights = [group[peer] for group in groups.values() if peer in group]
        left = [row - 0.4 + width * (place + 0.5) for row in where]
        axes.bar(left, heights, width, label=peer)
    axes.set_xticks(range(len(groups)), list(groups), fontsize=8)
    if log_y:
        axes.set_yscale("log")
    axes.set_ylabel(ylabel)
    _save(figure, axes, path)


def _blank(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=INCHES, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    axes.grid(visible=True, axis="y", linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _has_zero(values: Iterable[float]) -> bool:
    return any(value == 0 for value in values)


def _save(figure: Figure, axes: Axes, path: Path) -> None:
    axes.legend(fontsize=7, ncols=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
