"""Figures by matplotlib and seaborn: each once as files (SVG, PDF, PNG) and once as SVG for the page, where it follows its theme.

In the page a figure's colours become CSS variables, so that one drawing serves light and dark.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .shapes import FigureFound, Panel, StudyFound, Surface

INK, MUTED, RULE = "#1d2127", "#59626e", "#d9dde3"
SERIES = ("#1f6fb2", "#c2571a", "#2b8a57", "#8a4fb0", "#b5364f", "#5f6b7a", "#8a6d10", "#137f8b")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_NAMES = {
    "#ffffff": "none",
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    **{colour: f"var(--s{place})" for place, colour in enumerate(SERIES)},
}


@contextmanager
def _style() -> Iterator[None]:
    import seaborn as sns  # imported here: it takes half a second

    colours = {"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": MUTED}
    sizes = {
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
    }
    fixed = {
        "svg.fonttype": "none",
        "svg.hashsalt": "craftbench",
        "grid.color": RULE,
        "font.family": ["DejaVu Sans"],
        "path.simplify": True,
    }
    lines = {"axes.linewidth": 0.6, "grid.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(), warnings.catch_warnings(), sns.axes_style("whitegrid", {"font.family": ["DejaVu Sans"]}):
        warnings.filterwarnings("ignore", message=r"Glyph \d+")  # the browser has the letters that this font lacks
        settings: dict[Any, Any] = {**colours, **sizes, **fixed, **lines, "axes.titlelocation": "left"}
        mpl.rcParams.update(settings)
        yield


def _new(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def save(figure: Figure, stem: Path) -> str:
    """Write stem.svg, stem.pdf and stem.png, without dates; returns the SVG."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    out = io.StringIO()
    with _style():
        figure.draw_without_rendering()  # lay out once, for all three
        figure.set_layout_engine("none")
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        figure.savefig(stem.with_suffix(".pdf"), metadata={"CreationDate": None})
        figure.savefig(stem.with_suffix(".png"), dpi=160)
    stem.with_suffix(".svg").write_text(out.getvalue(), encoding="utf-8")
    return out.getvalue()


def inline(svg: str, name: str, label: str) -> str:
    """An SVG file as an element of the page: own ids, theme colours, no background, a text alternative."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    for colour, shown in _NAMES.items():
        svg = svg.replace(colour, shown)
    svg = re.sub(r"\.(\d{3})\d+", r".\1", svg)  # a thousandth of a point is enough
    svg = re.sub(r"\n\s*", "\n", svg)
    size = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    width = 4 / 3 * float(size[1]) if size else 600  # points as CSS pixels
    opening = f'<svg role="img" aria-label="{escape(label)}" style="width: {width:.0f}px" '
    return re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', lambda found: f"{opening}{found[1]}>", svg, count=1)


def draw(found: FigureFound) -> Figure:
    """The panels of a paper's figure: points or lines with their 95 % intervals, or surfaces."""
    columns = 2 if len(found.panels) == 4 else min(len(found.panels), 3)
    rows = -(-len(found.panels) // columns)
    with _style():
        figure, axes = _new(3.2 * columns + 0.6, 2.6 * rows + 0.3, rows, columns)
        for panel, axis in zip(found.panels, axes, strict=False):
            axis.set_title(_plain(f"{panel.title} ({panel.scope})"))
            axis.set_ylabel(_plain(panel.y_title))
            axis.set_xlabel(_plain(found.x_title))
            if panel.surface:
                _surface(figure, axis, panel.surface)
            elif panel.lines:
                _lines(axis, panel)
            else:
                _points(axis, panel, found)
        for axis in axes[len(found.panels) :]:
            axis.set_axis_off()
        if max(len(panel.series) for panel in found.panels) > 1:
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=min(4, 2 * columns), frameon=False)
    return figure


def _surface(figure: Figure, axis: Axes, surface: Surface) -> None:
    """Heights as colours, from blue (low) to yellow."""
    levels = MaxNLocator(10).tick_values(surface.low, surface.high)
    drawn = axis.contourf(surface.x, surface.y, surface.z, levels=levels, cmap="viridis")
    figure.colorbar(drawn, ax=axis, label=_plain(surface.title))


def _lines(axis: Axes, panel: Panel) -> None:
    for place, (title, points) in enumerate(panel.series.items()):
        colour = SERIES[place % len(SERIES)]
        dashes = "-" if place < len(SERIES) else "--"
        axis.plot(
            [point.x for point in points], [point.y for point in points], dashes, color=colour, label=_plain(title), linewidth=1.2
        )
        banded = [point for point in points if point.low is not None and point.high is not None]
        low, high = [point.low or 0.0 for point in banded], [point.high or 0.0 for point in banded]
        axis.fill_between([float(point.x) for point in banded], low, high, color=colour, alpha=0.15, linewidth=0)
    axis.yaxis.set_major_locator(MaxNLocator(5))


def _points(axis: Axes, panel: Panel, found: FigureFound) -> None:
    for place, (title, points) in enumerate(panel.series.items()):
        x: list[Any] = [point.x for point in points]
        y = [point.y for point in points]
        below = [0.0 if point.low is None else max(0.0, point.y - point.low) for point in points]
        above = [0.0 if point.high is None else max(0.0, point.high - point.y) for point in points]
        ordered = all(isinstance(each, float) for each in x) and len(x) > 1 and len(panel.series) > 1
        axis.errorbar(
            x,
            y,
            yerr=[below, above],
            fmt=_mark(place) + ("-" if ordered else ""),
            color=SERIES[place % len(SERIES)],
            label=_plain(title),
            markersize=4,
            linewidth=1.2,
            capsize=2,
        )
    numbers = all(isinstance(point.x, float) and point.x > 0 for points in panel.series.values() for point in points)
    if found.log_x and numbers:
        axis.set_xscale("log")
    names = list(dict.fromkeys(point.x for points in panel.series.values() for point in points if isinstance(point.x, str)))
    if names:
        axis.set_xticks(range(len(names)), list(map(_plain, names)), rotation=35, horizontalalignment="right")
    axis.yaxis.set_major_locator(MaxNLocator(5))
    levels = sorted({point.x for points in panel.series.values() for point in points if isinstance(point.x, float)})
    if 0 < len(levels) <= 6 and len(panel.series) > 1:  # a few settings: mark them, and nothing between
        axis.set_xticks(levels, [f"{level:g}" for level in levels], minor=False)
        axis.set_xticks([], minor=True)


def _mark(place: int) -> str:
    """A marker for each series: when the colours begin again, another one goes with each."""
    return MARKS[(place + place // len(SERIES)) % len(MARKS)]


def _plain(text: str, most: int = 48) -> str:
    """Text that matplotlib sets as it is: no mathematics, no markup, not endless."""
    text = "".join(each for each in text if each.isprintable() and each not in "\u202a\u202b\u202c\u202d\u202e").replace("$", r"\$")
    return text if len(text) <= most else f"{text[: most - 1]}…"


def histories(studies: tuple[StudyFound, ...], title: str) -> Figure:
    """Best value so far of every search on one task, against trials and against seconds."""
    with _style():
        figure, axes = _new(7.4, 2.9, 1, 2)
        for place, study in enumerate(studies):
            best, spent, trials, seconds = float("-inf"), 0.0, [], []
            for trial in study.trials:
                spent += trial.seconds
                best = best if trial.value is None else max(best, trial.value)
                trials.append((trial.number + 1, best))
                seconds.append((spent, best))
            for axis, curve in zip(axes, (trials, seconds), strict=True):
                kept = [point for point in curve if point[1] > float("-inf")]
                look: dict[str, Any] = {"color": SERIES[place % len(SERIES)], "marker": _mark(place)}
                x, y = [point[0] for point in kept], [point[1] for point in kept]
                axis.step(x, y, where="post", label=_plain(study.title), linewidth=1.2, markersize=3.5, **look)
        axes[0].set_xlabel("trials")
        axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[1].set_xlabel("seconds")
        axes[0].set_ylabel(_plain(f"best {studies[0].objective}"))
        axes[0].set_title(_plain(title))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def landscape(study: StudyFound) -> Figure:
    """One search seen three ways: importance (PED-ANOVA), parallel coordinates, and a slice for each hyperparameter."""
    done = [trial for trial in study.trials if trial.value is not None]
    names = list(study.space)
    with _style():
        figure = Figure(figsize=(7.4, 2.4 + 2.1 * -(-len(names) // 3)), layout="constrained")
        FigureCanvasAgg(figure)
        parts: Any = figure.subfigures(2, 1, height_ratios=[2.3, 2.1 * -(-len(names) // 3)])
        top, below = parts
        left, right = top.subplots(1, 2, width_ratios=[1, 2])
        _importance(left, study)
        _parallel(right, study, done)
        slices = below.subplots(-(-len(names) // 3), min(3, len(names)), squeeze=False, sharey=True).flat
        for name, axis in zip(names, slices, strict=False):
            axis.scatter([_where(trial.params[name]) for trial in done], [trial.value for trial in done], s=12, color=SERIES[0])
            if study.space[name].get("log"):
                axis.set_xscale("log")
            axis.set_xlabel(_plain(name))
        for axis in list(slices)[len(names) :]:
            axis.set_axis_off()
        below.supylabel(_plain(study.objective), fontsize=8)
    return figure


def _importance(axis: Axes, study: StudyFound) -> None:
    shares = dict(sorted(study.importance.items(), key=lambda item: item[1]))
    axis.barh(list(map(_plain, shares)), list(shares.values()), color=SERIES[0], height=0.6)
    axis.set_title("importance (PED-ANOVA)")
    axis.set_xlim(0, 1)


def _parallel(axis: Axes, study: StudyFound, done: list[Any]) -> None:
    """Each trial as a line over the hyperparameters, scaled to their ranges; the best tenth stand out."""
    names = list(study.space)
    ranked = sorted(done, key=lambda trial: trial.value)
    best = max(1, len(ranked) // 10)
    for place, trial in enumerate(ranked):
        heights = [_share(study.space[name], trial.params[name]) for name in names]
        good = place >= len(ranked) - best
        axis.plot(range(len(names)), heights, color=SERIES[1] if good else SERIES[5], alpha=1.0 if good else 0.35, linewidth=1.0)
    axis.set_xticks(range(len(names)), [_plain(name, 16) for name in names])
    axis.set_ylim(-0.03, 1.03)
    axis.set_yticks([0, 1], ["low", "high"])
    axis.set_title("all trials; best tenth in colour")


def _share(space: dict[str, Any], value: Any) -> float:
    """Where a value lies in its range, from 0 to 1."""
    if space.get("choices"):
        return space["choices"].index(value) / max(1, len(space["choices"]) - 1)
    scale: Callable[[float], float] = float
    if space.get("log"):
        from math import log as scale
    low, high = scale(space["low"]), scale(space["high"])
    return (scale(value) - low) / (high - low) if high > low else 0.5


def _where(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
