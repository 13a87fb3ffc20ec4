"""Draw docs/images/sim-video.png: `python bench/draw_sim_video.py LOG.csv.gz docs/images/sim-video.png`.

LOG is KuaiRand-Pure's standard log (any days); tab 1, without repeated rows and unknown durations, as the reader takes it.
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from craftbench.datasets.sim_video import generate
from matplotlib.axes import Axes

COLOURS = {"KuaiRand-Pure": "#4c4c4c", "sim-video-kuairand": "#d1495b"}
FEEDBACK = ("click", "long_view", "profile_enter", "like", "comment", "follow", "forward")


def real_log(path: str) -> pd.DataFrame:
    raw = pd.read_csv(path)
    raw = raw[(raw["tab"] == 1) & (raw["duration_ms"] > 0)].drop_duplicates()
    seconds = {"watch_time": raw["play_time_ms"] / 1000, "duration": raw["duration_ms"] / 1000}
    feedback = {name: raw[name if name == "long_view" else f"is_{name}"] for name in FEEDBACK}
    return pd.DataFrame({"user_id": raw["user_id"], "item_id": raw["video_id"], **seconds, **feedback})


def density(axes: Axes, logs: dict[str, pd.DataFrame], column: str, low: float, high: float, label: str) -> None:
    """Shares per bin, the bins equal on a log scale."""
    bins = np.geomspace(low, high, 46)
    for name, log in logs.items():
        share = np.histogram(log[column].clip(low, high), bins)[0] / len(log)
        real = name == "KuaiRand-Pure"
        axes.stairs(100 * share, bins, color=COLOURS[name], fill=real, alpha=0.28 if real else 1, linewidth=1.6)
    axes.set(xscale="log", xlabel=label, ylabel="% of impressions", xlim=(low, high))


def ratios(axes: Axes, logs: dict[str, pd.DataFrame]) -> None:
    bins = np.linspace(0, 2, 41)
    for name, log in logs.items():
        share = np.histogram((log["watch_time"] / log["duration"]).clip(upper=1.999), bins)[0] / len(log)
        real = name == "KuaiRand-Pure"
        axes.stairs(100 * share, bins, color=COLOURS[name], fill=real, alpha=0.28 if real else 1, linewidth=1.6)
    axes.set(yscale="log", xlabel="watch time / duration (last bin: 2 and more)", ylabel="% of impressions", xlim=(0, 2))


def shares(axes: Axes, logs: dict[str, pd.DataFrame]) -> None:
    place = np.arange(len(FEEDBACK))
    for shift, (name, log) in zip((-0.14, 0.14), logs.items(), strict=True):
        value = 100 * log[list(FEEDBACK)].mean().to_numpy()
        error = 1.96 * np.sqrt(value * (100 - value) / len(log))
        axes.errorbar(value, place + shift, xerr=error, fmt="o", color=COLOURS[name], markersize=5, linewidth=1.6)
    axes.set(xscale="log", xlabel="% of impressions, 95 % interval", yticks=place, yticklabels=FEEDBACK)
    axes.set_xticks([0.1, 1, 10, 50], ["0.1", "1", "10", "50"])
    axes.invert_yaxis()


def counts(axes: Axes, logs: dict[str, pd.DataFrame]) -> None:
    """How many users, and videos, have at least n impressions."""
    for name, log in logs.items():
        for side, style in (("user_id", "-"), ("item_id", "--")):
            n = np.sort(log[side].value_counts().to_numpy())[::-1]
            axes.plot(n, 100 * np.arange(1, len(n) + 1) / len(n), style, color=COLOURS[name], linewidth=1.6)
    axes.set(xscale="log", yscale="log", xlabel="at least n impressions", ylabel="% of users or videos")
    axes.set_ylim(0.01, 130)


def by_duration(axes: Axes, logs: dict[str, pd.DataFrame]) -> None:
    for name, log in logs.items():
        bins = pd.qcut(log["duration"], 12)
        groups = log.groupby(bins, observed=True)
        middle = groups["duration"].median()
        for q, style in ((0.5, "o-"), (0.8, "^-")):
            axes.plot(middle, groups["watch_time"].quantile(q), style, color=COLOURS[name], linewidth=1.6, markersize=4)
    axes.set(xscale="log", yscale="log", xlabel="duration, s", ylabel="watch time, s")
    axes.set_yticks([5, 10, 20, 50], ["5", "10", "20", "50"])
    axes.set_yticks([], minor=True)
    axes.set_xticks([10, 30, 100, 300], ["10", "30", "100", "300"])


def draw(log_path: str, image_path: str) -> None:
    logs = {"KuaiRand-Pure": real_log(log_path), "sim-video-kuairand": generate("sim-video-kuairand").impressions}
    sns.set_theme(style="ticks", context="paper", rc={"axes.titleweight": "bold"})
    figure, axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
    density(axes[0, 0], logs, "watch_time", 0.1, 1200, "watch time, s")
    density(axes[0, 1], logs, "duration", 4, 1300, "duration, s")
    ratios(axes[0, 2], logs)
    shares(axes[1, 0], logs)
    counts(axes[1, 1], logs)
    by_duration(axes[1, 2], logs)
    titles = (
        "Watch time",
        "Duration",
        "Watch ratio",
        "Feedback",
        "Impressions per user (line), video (dashes)",
        "By duration: median (o), 80 % (▲)",
    )
    for panel, title in zip(axes.flat, titles, strict=True):
        panel.set_title(title, loc="left")
    sns.despine(figure)
    handles = [plt.Line2D([], [], color=colour, linewidth=5, alpha=0.8) for colour in COLOURS.values()]
    figure.legend(
        handles,
        [f"{name} ({len(log):,} impressions)" for name, log in logs.items()],
        loc="outside upper center",
        ncols=2,
        frameon=False,
    )
    figure.savefig(image_path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    draw(*sys.argv[1:])
