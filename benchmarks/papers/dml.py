"""DML (Zhang, Bai, Chang et al., CIKM 2023): watch-time labels without duration bias."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pandas as pd

from ...datasets.catalogue import load
from ..benchmark import Averaged, Benchmark, Claim, Column, Contrast, Diagram, Figure, Picture, Table, TaskSpec
from ..rows import keys
from ..simulated_week import DAYS, PER_DAY, USERS
from ..watch_time_pictures import label_by_duration, rank_edges, train_labels, train_table, truth_correlation, watch_frequency
from .dml_profiles import BIG, PROFILES, REAL, REAL_SHARES, SIM, SIM_SHARES, SMOKE_TASK, WORLDS_TASKS
from .dml_rows import CURVES, EASE, GRID, HEADS, LATER, MAIN, PUBLISHED

SIMULATED = (SMOKE_TASK.key, SIM.key)
BOTH = (SIM.key, REAL.key)
ALL = (*keys(MAIN), *keys(HEADS), *keys(LATER), *keys(EASE))


def _errors(view: str) -> tuple[Column, ...]:
    return (
        Column(f"{view}/xauc", "AUC"),
        Column(f"{view}/xgauc", "GAUC"),
        Column(f"{view}/mae", "MAE", unit="s", higher_is_better=False, decimals=3),
        Column(f"{view}/mape", "MAPE", higher_is_better=False, decimals=3),
        Column(f"{view}/rmse", "RMSE", unit="s", higher_is_better=False, decimals=3),
    )


FURTHER = (
    Column("test/mape_3s", "MAPE, y of 3 s and more", higher_is_better=False, decimals=3),
    Column("test/mape_median", "median APE", higher_is_better=False, decimals=3),
    Column("test/calibration", "predicted over observed", higher_is_better=None, decimals=3),
    Column("test/auc_ev", "AUC of views above the median"),
    Column("test/auc_cv", "AUC of complete plays"),
    Column("test/score_xauc", "AUC of the head's own score"),
    Column("test/score_xgauc", "GAUC of the head's own score"),
)
WEEK = (
    Column("loop/watch_time", "watch time", unit="s", decimals=1),
    Averaged("gain/watch_time", "WT against WLR", unit="%", decimals=2, prefix="loop/watch_time", over="wlr"),
    Averaged("gain/session_time", "AU against WLR", unit="%", decimals=2, prefix="loop/session_time", over="wlr"),
    Column("loop/views", "views", unit="videos", decimals=2),
    Column("loop/satisfied", "satisfied", unit="videos", decimals=2),
    Column("loop/retained", "retained", unit="of users", decimals=3),
    Column("loop/to_oracle", "satisfied, from random to oracle", decimals=3),
)
CHOSEN = (
    Column("test/top_watch_time", "watch time of the better half", unit="s", decimals=2),
    Column("test/top_finished", "finished", unit="of rows", decimals=4),
)
TRUTH = (
    Column("test/score_match", "score with true match"),
    Column("test/score_duration", "score with duration, absolute", higher_is_better=False),
)
TIMES = (
    Column("test/xgauc", "GAUC"),
    Column("note/rows_to_99", "train rows until 99 %", higher_is_better=False, decimals=0),
    Column("note/best_epoch", "best epoch", higher_is_better=None, decimals=1),
)

TABLES = (
    Table(
        "B",
        "Watch-time prediction",
        _errors("test"),
        ALL,
        tasks=(*SIMULATED, REAL.key, *(task.key for task in BIG)),
        reference="tr",
        caption="AUC: share of pairs of rows with unequal watch times that the predicted seconds order rightly; GAUC: the same "
        "within users, weighted by rows. Seconds are not cut at the duration. MAPE: error over the watch time or 1 s. Published "
        "numbers are of a Kuaishou production log that is not public: beside other data they tell order and lift only.",
    ),
    Table(
        "Br",
        "Watch-time prediction on the random log",
        _errors("random"),
        ALL,
        tasks=("kuairand-pure/watch",),
        reference="tr",
        caption="Rows that were shown by chance: no recommender chose them.",
    ),
    Table("Bx", "Further views of the same predictions", FURTHER, ALL, tasks=BOTH, reference="tr"),
    Table(
        "C",
        "A week under each policy (closed loop, simulated)",
        WEEK,
        keys(MAIN),
        tasks=SIMULATED,
        reference="wlr",
        caption=f"Means per user over {DAYS} days: each frozen model ranks {PER_DAY} candidates a day for up to {USERS} users by "
        "its fused score. WT: seconds watched; AU: seconds of a visit. The published gains are of a live test on two surfaces and "
        "cannot be compared; what random order and an oracle bring stands under Data.",
    ),
    Table(
        "Co",
        "The better half of each user's test rows, by the fused score",
        CHOSEN,
        keys(MAIN),
        tasks=(*SIMULATED, REAL.key),
        reference="wlr",
        caption="Stands for the live test on a real log, and is biased: it chooses among what another recommender had chosen.",
    ),
    Table(
        "D",
        "Over the worlds: what the score follows",
        (*TRUTH, Column("test/xgauc", "GAUC"), Column("loop/satisfied", "satisfied", unit="videos", decimals=2)),
        GRID,
        tasks=(SIM.key, *(task.key for task in WORLDS_TASKS)),
        reference="tr",
        caption="Spearman's correlation of the head's score with the true match of user and video, and with the duration "
        "(absolute). A simulated result is this table over the declared grid of worlds, never one verdict.",
    ),
    Table("E", "How fast a label is learned", TIMES, CURVES, tasks=(*BOTH, *(task.key for task in (*SIM_SHARES, *REAL_SHARES)))),
)

FIGURES = (
    Figure(
        "L1",
        "Learning curves",
        x="label:share",
        y=("test/xgauc", "note/rows_to_99"),
        series={
            "seconds": ("tr",),
            "log seconds": ("tr_log",),
            "PCR": ("pcr",),
            "WPR": ("dml_wpr",),
            "WPR by duration": ("dml_wpr_d",),
        },
        tasks=(*(task.key for task in SIM_SHARES), SIM.key, *(task.key for task in REAL_SHARES), REAL.key),
        x_title="share of the train rows [%]",
        log_x=True,
        caption="GAUC of the predicted seconds, and how many rows were seen until valid's GAUC had made 99 % of its way.",
    ),
)


def _frequency(folder: Path, task: TaskSpec, data_home: Path) -> pd.DataFrame:
    return watch_frequency(train_table(folder))


def _edges(folder: Path, task: TaskSpec, data_home: Path) -> pd.DataFrame:
    return rank_edges(train_table(folder)).rename(columns={"x": "y", "y": "x"})


def _durations(folder: Path, task: TaskSpec, data_home: Path) -> pd.DataFrame:
    rows = train_table(folder)
    labels = {title: values for title, values in train_labels(rows).items() if title != "watch time"}
    return label_by_duration(rows, labels)


def _truth(folder: Path, task: TaskSpec, data_home: Path) -> pd.DataFrame:
    rows = train_table(folder)
    return truth_correlation(rows, load(task.dataset, data_home), train_labels(rows))


PICTURES = (
    Picture("F1", "How long videos of 10-20 s and of 30-40 s are watched", _frequency, BOTH, "watch time [s]", "share of plays"),
    Picture("F4", "Where the groups of the percentile rank end", _edges, BOTH, "watch time [s]", "label", log_x=True),
    Picture(
        "F5",
        "What each label gives to long videos",
        _durations,
        BOTH,
        "duration [s]",
        "mean label",
        log_x=True,
        caption="A label that is flat has lost the duration, and with it any true liking for long or short videos.",
    ),
    Picture(
        "F6",
        "Whether a label follows the duration or the true match",
        _truth,
        (SIM.key, *(task.key for task in WORLDS_TASKS)),
        "correlated with",
        "Spearman",
    ),
)
DIAGRAMS = (
    Diagram("F2", "What makes a watch time", "dml-graph.svg", "After slides 5 and 9 of the authors."),
    Diagram("F3", "From the log to the score", "dml-framework.svg", "After slide 6 of the authors."),
)


def _against(row: str, others: tuple[str, ...], columns: tuple[str, ...], tasks: tuple[str, ...] = BOTH) -> tuple[Contrast, ...]:
    return tuple(Contrast(row, other, column, task) for task in tasks for column in columns for other in others)


def _chain(rows: tuple[str, ...], column: str) -> tuple[Contrast, ...]:
    return tuple(Contrast(better, worse, column, SIM.key) for worse, better in pairwise(rows))


RIVALS = keys(PUBLISHED)
RANKING, ERRORS = ("test/xauc", "test/xgauc"), ("test/mae", "test/mape", "test/rmse")
_SLIDES, _ABSTRACT = "slides of the authors, page 12", "abstract"
CLAIMS = (
    Claim(
        "C1",
        "DML orders watch times better than TR, WLR, OR and D2Q.",
        _SLIDES,
        "greater",
        _against("dml", RIVALS, RANKING),
        short="orders best",
    ),
    Claim(
        "C1e",
        "DML's errors in seconds are smaller than theirs.",
        _SLIDES,
        "less",
        _against("dml", RIVALS, ERRORS),
        short="smallest errors",
    ),
    Claim(
        "C2",
        "Of the others D2Q orders best.",
        _SLIDES,
        "greater",
        _against("d2q", ("tr", "wlr", "ordinal"), RANKING),
        short="D2Q orders next best",
    ),
    Claim(
        "C2e",
        "Of the others D2Q has the smallest MAE and MAPE.",
        _SLIDES,
        "less",
        _against("d2q", ("tr", "wlr", "ordinal"), ERRORS[:2]),
        short="D2Q: small MAE, MAPE",
    ),
    Claim(
        "C2r",
        "D2Q has not the smallest RMSE of the others.",
        _SLIDES,
        "greater",
        _against("d2q", ("wlr",), ("test/rmse",)),
        short="D2Q: larger RMSE",
    ),
    Claim(
        "C3",
        "Live, users watch more with each step: WLR, D2Q, the percentile rank, the rank by duration.",
        _SLIDES,
        "greater",
        _chain(("wlr", "d2q", "dml_wpr", "dml_wpr_d"), "loop/watch_time"),
        note="Simulated week; the published order is of a live test.",
        short="steps add watch time",
    ),
    Claim(
        "C4",
        "Effective views beside the rank bring more than long views, and these more than the rank alone.",
        _SLIDES,
        "greater",
        _chain(("dml_wpr_d", "dml_lv", "dml"), "loop/watch_time"),
        note="Simulated week; the published order is of a live test.",
        short="effective views add most",
    ),
    Claim(
        "C5",
        "The rank by duration follows the duration less than the rank and the seconds do.",
        _ABSTRACT,
        "less",
        _against("dml_wpr_d", ("dml_wpr", "tr"), ("test/score_duration",), (SIM.key,)),
        note="Absolute Spearman correlation of the learned score with the duration, in the simulator.",
        short="follows duration less",
    ),
    Claim(
        "C5m",
        "The rank by duration follows the true match at least as much.",
        _ABSTRACT,
        "greater",
        _against("dml_wpr_d", ("dml_wpr", "tr"), ("test/score_match",), (SIM.key,)),
        margin=-0.005,
        note="Not worse by more than .005, in the simulator; table D has the other worlds.",
        short="keeps the true match",
    ),
    Claim(
        "C6",
        "The percentile rank is easier to learn than seconds, log seconds and the share played: better from few rows.",
        _ABSTRACT,
        "greater",
        _against("dml_wpr", ("tr", "tr_log", "pcr"), ("test/xgauc",), (SIM_SHARES[1].key, REAL_SHARES[1].key)),
        note="GAUC of the predicted seconds with 5 % of the train rows.",
        short="learned from few rows",
    ),
    Claim(
        "C6r",
        "The percentile rank is learned sooner than these.",
        _ABSTRACT,
        "less",
        _against("dml_wpr", ("tr", "tr_log", "pcr"), ("note/rows_to_99",)),
        note="Train rows seen until valid's GAUC had made 99 % of its way.",
        short="learned sooner",
    ),
)

BENCHMARK = Benchmark(
    name="dml",
    title="DML: debiased watch-time labels",
    citation="Zhang, Bai, Chang, Zang, Lu, Lu, Feng, Niu, Song. Leveraging Watch-time Feedback for Short-Video Recommendations: "
    "A Causal Labeling Framework. CIKM 2023, 4952-4959. doi 10.1145/3583780.3615483",
    profiles=PROFILES,
    tables=TABLES,
    figures=FIGURES,
    pictures=PICTURES,
    diagrams=DIAGRAMS,
    claims=CLAIMS,
    objective="valid/xgauc",
    published="dml.json",
    deviations=(
        "The paper's body and its code are not public: formulas and numbers are from the authors' slides and abstract. Loss, N, q, "
        "duration groups, network, fusion and the decoder to seconds are not in them; ours are searched or said.",
        "Kuaishou's production log is not public; a KuaiRand-Pure slice (fetched by hand) and simulated logs stand in.",
        "AUC is the concordance of predicted and observed seconds; how the paper defines it is not known.",
        "Smoothed user and video rates are inputs of every row, and so is the duration; every row learns the explicit feedback "
        "beside.",
        "The live test is a simulated week, and on the real log the better half of each user's test rows.",
        "Ten seeds (five in quick) with intervals; the paper's are not known.",
    ),
)
