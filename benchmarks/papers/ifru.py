"""IFRU (Zhang et al., TORS 2024): unlearning by influence function against retraining, shard methods and controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...baselines.unlearning.fine_tuning import FineTuning
from ...baselines.unlearning.original import Original
from ...baselines.unlearning.popularity import Popularity
from ...baselines.unlearning.receraser import RecEraser
from ...baselines.unlearning.retrain import Retrain
from ...baselines.unlearning.scif import SCIF
from ...baselines.unlearning.sisa import SISA
from ...baselines.unlearning.ultrare import UltraRE
from ...core.metrics.unlearning import grouped_rank_correlation, grouped_score_distance
from ...datasets.requests import RequestSpec
from ...methods.ifru import IFRU
from ..benchmark import Benchmark, Claim, Column, Contrast, Derived, Figure, Profile, Row, Scope, Table, Timing
from ..unlearning_task import GROUPS, UnlearningSpec

Scores = Mapping[str, Mapping[str, NDArray[Any]]]
Groups = Mapping[str, NDArray[np.int64]]

MARGIN = 0.002  # of AUC: what "comparable to Retrain" means here, fixed beforehand

# Rows. Trained rows inherit Original's lr, dim, init_std and l2, so that they differ from it in data alone.
MAIN = (
    Row(Original, role="floor"),
    Row(Retrain, role="target", inherits="original"),
    Row(SISA, inherits="original", differs="aggregated by learned attention, as IFRU's release does; the SISA paper averages"),
    Row(
        RecEraser, inherits="original", differs="centroids averaged per coordinate; the released code averages over coordinates too"
    ),
    Row(UltraRE, inherits="original", differs="not in IFRU's release; after its own paper"),
    Row(
        SCIF,
        pinned={"solver": "cg", "step": 1e-2},
        differs="CG on the damped Gauss-Newton, sign of the residual term searched; the release uses Adam and the sign of ascent",
    ),
    Row(
        IFRU,
        role="method",
        pinned={"step": 1e-2},
        differs="CG, damped Hessian or its Gauss-Newton part (searched), exact spillover, graph switched; released: Adam on p",
    ),
)
RELEASED = {"solver": "adam_as_released", "curvature": "mf_hessian", "damping": 0.0, "graph_after": "full", "spillover": "released"}


def _as_released(backbone: str) -> Row:
    nodes = {"hops": 0} if backbone == "mf" else {"hops": 1, "keep": 0.6}
    note = "Adam on p, stopped by validation AUC; Hessian of plain MF; scored on the old graph"
    return Row(IFRU, key="ifru_released", title="IFRU as released", role="method", pinned={**RELEASED, **nodes}, differs=note)


CONTROLS = (
    Row(FineTuning, role="control"),
    Row(
        IFRU,
        key="gradient_ascent",
        title="Gradient ascent (H = 0)",
        role="control",
        pinned={"solver": "adam_as_released", "curvature": "none", "damping": 0.0},
    ),
    Row(IFRU, key="placebo", title="Placebo (IFRU on clean rows)", role="control", pinned={"request": "placebo"}, inherits="ifru"),
    Row(Popularity, role="floor"),
)
HOP_0 = Row(IFRU, key="ifru_hop0", title="IFRU, endpoints only", role="ablation", pinned={"hops": 0}, inherits="ifru")
DIRECT = Row(IFRU, key="ifru_direct", title="IFRU, no spillover", role="ablation", pinned={"spillover": "off"}, inherits="ifru")
OLD_GRAPH = Row(
    IFRU, key="ifru_old_graph", title="IFRU, old graph kept", role="ablation", pinned={"graph_after": "full"}, inherits="ifru"
)

KEEPS = (0.2, 0.4, 0.6, 0.8, 1.0)
SELECTIONS = {"importance": "by importance", "random": "at random", "degree": "by degree", "gradient_norm": "by gradient norm"}


def _pruned(hops: int, keep: float, selection: str = "importance") -> Row:
    key = f"ifru_h{hops}_k{keep:g}" + ("" if selection == "importance" else f"_{selection}")
    title = f"IFRU, {hops} hops, {100 * keep:g} % {SELECTIONS[selection]}"
    return Row(
        IFRU, key=key, title=title, role="ablation", pinned={"hops": hops, "keep": keep, "selection": selection}, inherits="ifru"
    )


def _curved(curvature: str, title: str) -> Row:
    pinned = {"curvature": curvature, "step": 1e-2}
    return Row(
        IFRU, key=f"ifru_{curvature}", title=f"IFRU, {title}", role="ablation", pinned=pinned, differs="damping alone is searched"
    )


PRUNED = tuple(_pruned(hops, keep) for hops in (0, 1) for keep in KEEPS)
PRUNED_OTHERWISE = tuple(_pruned(1, keep, selection) for selection in list(SELECTIONS)[1:] for keep in KEEPS[:-1])
EXTRAS = (
    Row(
        Retrain,
        key="retrain_own",
        title="Retrain, own search",
        role="control",
        differs="its own lr, dim, init and L2; never the target",
    ),
    Row(
        SISA,
        key="sisa_mean",
        title="SISA, averaged",
        inherits="original",
        pinned={"aggregate": "mean"},
        differs="as in the SISA paper",
    ),
    Row(
        SCIF,
        key="scif_released",
        title="SCIF as released",
        pinned={"solver": "adam_as_released", "residual": "as_released", "damping": 0.0, "graph_after": "full"},
        differs="Adam on p; the residual term has the sign of ascent",
    ),
    _curved("gauss_newton", "Gauss-Newton"),
    _curved("hessian", "true Hessian"),
)


def _task(backbone: str, share: float, dataset: str = "ml-100k", kind: str = "flipped", requests: int = 1) -> UnlearningSpec:
    scopes: dict[str, Scope] = {"bookcrossing": "paper's data", "amazon-electronics": "paper's data"}
    scope = scopes.get(dataset, "simulated" if dataset.startswith("sim-") else "real stand-in")
    return UnlearningSpec(dataset, RequestSpec(kind, share, requests), backbone, scope)


def _rows(task: UnlearningSpec, *more: Row) -> tuple[Row, ...]:
    graph = (DIRECT,) if task.backbone == "lightgcn" else (HOP_0,)
    return (*MAIN, _as_released(task.backbone), *CONTROLS, *graph, *more)


SMOKE_TASKS = (_task("mf", 0.1, "sim-ratings"), _task("lightgcn", 0.1, "sim-ratings"))
SHARDED = ("sisa", "receraser")  # ten sub-models a fit: in quick on one task, elsewhere holes with their command
QUICK_TASKS = (_task("mf", 0.02), _task("mf", 0.1), _task("lightgcn", 0.1))
STANDARD_FLIPS = tuple(_task("mf", share) for share in (0.01, 0.02, 0.1)) + tuple(_task("lightgcn", share) for share in (0.01, 0.1))
STANDARD_CLEAN = (_task("mf", 0.02, kind="rows"), _task("mf", 0.05, kind="users"), _task("mf", 0.01, kind="item"))
SIZES = tuple(_task("mf", share) for share in (0.001, 0.005, 0.05))
PAPER_DATA = tuple(
    _task(backbone, share, dataset)
    for dataset in ("amazon-electronics", "bookcrossing")
    for backbone, share in (("mf", 0.02), ("lightgcn", 0.01))
)
SLICE = (_task("mf", 0.02, "bookcrossing-slice"), _task("lightgcn", 0.1, "bookcrossing-slice"))


def _quick_rows(task: UnlearningSpec) -> tuple[Row, ...]:
    """Small tables, and what ten sub-models cost on one task only; the rest are holes with their command."""
    kept = [row for row in _rows(task) if row.key != "ultrare" and (row.key not in SHARDED or task == QUICK_TASKS[1])]
    small = Row(
        Original,
        role="floor",
        pinned={"dim": 16},
        differs="embeddings of 16 in this profile, and so in every row that inherits them",
    )
    return tuple(small if row.key == "original" else row for row in kept)


def _standard_rows(task: UnlearningSpec) -> tuple[Row, ...]:
    more = EXTRAS if task.request.kind == "flipped" else ()
    if task == _task("mf", 0.1):
        more = (*more, *PRUNED, *PRUNED_OTHERWISE)
    if task.backbone == "lightgcn":
        more = (*more, OLD_GRAPH)
    return _rows(task, *more)


SMALL = ("original", "retrain", "ifru", "ifru_released", "placebo", "popularity")  # rows of the request-size curve


def _size_rows(task: UnlearningSpec) -> tuple[Row, ...]:
    return tuple(row for row in _rows(task) if row.key in SMALL)


FIT_SECONDS = {"*": 0.3, "original": 0.9, "retrain": 0.9, "sisa": 1.2, "receraser": 1.6, "ultrare": 2.2, "popularity": 0.1}

TIMED = Timing(
    key="ml100k",
    title="One request on MovieLens 100K (MF, 2 % flipped)",
    task=QUICK_TASKS[0],
    measure="craftbench.benchmarks.papers.ifru_timing:whole_requests",
    repeats=3,
    note="Each row's whole answer to the request, default settings, interleaved, two threads, alone on the machine.",
)

PROFILES = {
    "smoke": Profile(
        name="smoke",
        tasks=SMOKE_TASKS,
        rows={task.key: _rows(task) for task in SMOKE_TASKS},
        seeds=2,
        trials=2,
        core_seconds=40,
        fit_seconds={"*": 0.2},
        deadline=60,
    ),
    "quick": Profile(
        name="quick",
        tasks=QUICK_TASKS,
        rows={task.key: _quick_rows(task) for task in QUICK_TASKS},
        seeds=5,
        trials=3,
        core_seconds=300,
        fit_seconds=FIT_SECONDS,
        timings=(TIMED,),
        deadline=120,
    ),
    "standard": Profile(
        name="standard",
        tasks=(*STANDARD_FLIPS, *STANDARD_CLEAN, *SIZES, *SLICE, *PAPER_DATA),
        rows={
            **{task.key: _standard_rows(task) for task in (*STANDARD_FLIPS, *STANDARD_CLEAN)},
            **{task.key: _size_rows(task) for task in SIZES},
            **{task.key: _rows(task) for task in (*SLICE, *PAPER_DATA)},
        },
        seeds=10,
        trials=10,
        core_seconds=6 * 3600,
        fit_seconds=FIT_SECONDS,
        timings=(TIMED,),
        recheck=3,
        tuning_seeds=3,
        deadline=3600,
    ),
}


def _distance(view: str) -> Any:
    def compute(mine: Scores, retrain: Scores, original: Scores, groups: Groups) -> tuple[float, NDArray[np.float64]]:
        a, b, start = (scores[view]["score"] for scores in (mine, retrain, original))
        return grouped_score_distance(a, b, groups[view], GROUPS, start)

    return compute


def _ranks(mine: Scores, retrain: Scores, original: Scores, groups: Groups) -> tuple[float, NDArray[np.float64]]:
    return grouped_rank_correlation(mine["test"]["score"], retrain["test"]["score"], groups["test"], GROUPS)


AUC = Column("test/auc", "AUC")
AUC_OR = Column("test/auc_or", "AUC-or")
AUC_AND = Column("test/auc_and", "AUC-and")
TO_RETRAIN: dict[str, Any] = {"against": "retrain", "start": "original", "decimals": 3}
DISTANCE_TEST = Derived("distance/test", "distance, test", higher_is_better=False, compute=_distance("test"), **TO_RETRAIN)
DISTANCE_REMOVED = Derived(
    "distance/removed", "distance, removed", higher_is_better=False, compute=_distance("removed"), **TO_RETRAIN
)
RANKS = Derived("ranks/test", "rank correlation", compute=_ranks, **TO_RETRAIN)
SECONDS = Column("time/fit", "fit", unit="s", higher_is_better=False, decimals=3)

_MAIN_KEYS = tuple(row.key for row in MAIN)
_ALL_KEYS = (*_MAIN_KEYS, "ifru_released", *(row.key for row in CONTROLS), "ifru_hop0", "ifru_direct")
_EXTRA_KEYS = (*(row.key for row in EXTRAS), "ifru_old_graph")

TABLES = (
    Table(
        "T2",
        "Accuracy after unlearning",
        (AUC, AUC_OR, AUC_AND),
        (*_ALL_KEYS, *_EXTRA_KEYS),
        reference="retrain",
        caption="Test AUC over all rows; over rows whose user or item is an endpoint of a removed row (or); "
        "over rows where both are (and).",
    ),
    Table(
        "T2b",
        "Completeness: how close to Retrain",
        (DISTANCE_TEST, DISTANCE_REMOVED, RANKS),
        (*_ALL_KEYS, *_EXTRA_KEYS),
        caption="Distance of scores to Retrain's of the same seed over Original's distance: 0 is Retrain, 1 is as far as Original. "
        "Rows of one seed share initialisation and batches, so like is compared with like. Not in the paper.",
    ),
    Table(
        "T3",
        "Cost of answering the request",
        (SECONDS, Column("time/selection", "selection", "s", False, 3), Column("time/solve", "solver", "s", False, 3)),
        (*_ALL_KEYS, *_EXTRA_KEYS),
        caption="Seconds inside cells that ran beside others on one thread; for speed-ups see the timing cells, which ran alone.",
    ),
)

FIGURES = (
    Figure(
        "F1",
        "Pruning: nodes that may move",
        x="param:keep",
        y=("test/auc", "distance/test", "time/fit"),
        series={
            "endpoints only (0 hops)": tuple(f"ifru_h0_k{keep:g}" for keep in KEEPS),
            "1 hop, by importance": tuple(f"ifru_h1_k{keep:g}" for keep in KEEPS),
            **{
                f"1 hop, {title}": tuple(f"ifru_h1_k{keep:g}_{name}" for keep in KEEPS[:-1])
                for name, title in list(SELECTIONS.items())[1:]
            },
        },
        tasks=(_task("mf", 0.1).key,),
        x_title="share of the reachable nodes kept",
        caption="Is importance-based pruning worth it? The other selections keep equally many nodes.",
    ),
    Figure(
        "F2",
        "Spillover and the switched graph (LightGCN)",
        x="row",
        y=("distance/test", "distance/removed", "test/auc"),
        series={"LightGCN": ("original", "ifru_direct", "ifru_old_graph", "ifru", "ifru_released")},
        tasks=(_task("lightgcn", 0.1).key,),
        caption="0 is Retrain, 1 is Original.",
    ),
    Figure(
        "F3",
        "Size of the request (MF, flipped labels)",
        x="label:share",
        y=("test/auc", "distance/test"),
        series={"Original": ("original",), "Retrain": ("retrain",), "IFRU": ("ifru",), "IFRU as released": ("ifru_released",)},
        tasks=tuple(_task("mf", share).key for share in (0.001, 0.005, 0.01, 0.02, 0.05, 0.1)),
        x_title="flipped training rows, %",
        log_x=True,
    ),
)

_SOURCE = "abstract"
CLAIMS = (
    Claim(
        "C1",
        "IFRU reaches a recommendation accuracy comparable to Retrain's.",
        _SOURCE,
        "equivalent",
        (Contrast("ifru", "retrain", "test/auc"),),
        margin=MARGIN,
        controls=(Contrast("original", "retrain", "test/auc"), Contrast("placebo", "retrain", "test/auc")),
        note="Counts only where the same test puts Original and the placebo outside the margin.",
    ),
    Claim(
        "C2",
        "IFRU is more than 250 times faster than retraining-based methods.",
        _SOURCE,
        "ratio_above",
        tuple(Contrast(row, "ifru", "timing/ml100k") for row in ("retrain", "retrain_row_sparse", "sisa", "receraser")),
        margin=250,
        note="Data, hardware and clock of the claim are not known; here dense Adam (as released) and row-sparse Adam both count.",
    ),
    Claim(
        "C3",
        "Unlearning by IFRU is harmless: not below Original in AUC.",
        _SOURCE,
        "greater",
        (Contrast("ifru", "original", "test/auc"),),
        margin=-MARGIN,
        note="Non-inferiority: not more than .002 below.",
    ),
    Claim(
        "C4",
        "IFRU is closer to Retrain than SISA, RecEraser and SCIF.",
        _SOURCE,
        "less",
        tuple(Contrast("ifru", other, "distance/test") for other in ("sisa", "receraser", "scif")),
        smallest=0.05,
        note="Closeness by the scores of test pairs; the paper reads it off AUC.",
    ),
    Claim(
        "C5",
        "The spillover through the graph matters: with it IFRU is closer to Retrain than without.",
        _SOURCE,
        "less",
        (Contrast("ifru", "ifru_direct", "distance/test"),),
        smallest=0.02,
    ),
    Claim(
        "C6",
        "Importance-based pruning costs no accuracy.",
        _SOURCE,
        "equivalent",
        (Contrast("ifru_hop0", "ifru", "test/auc"),),
        margin=MARGIN,
        controls=(Contrast("original", "ifru", "test/auc"),),
        note="Updating the endpoints of removed rows alone against every node in reach; what it saves is in T3 and F1.",
    ),
)

BENCHMARK = Benchmark(
    name="ifru",
    title="IFRU: recommendation unlearning via influence function",
    citation="Zhang, Hu, Bai, Wu, Wang, Feng. Recommendation Unlearning via Influence Function. "
    "ACM TORS 3(2), 2024. doi 10.1145/3701763",
    profiles=PROFILES,
    tables=TABLES,
    figures=FIGURES,
    claims=CLAIMS,
    objective="valid/auc",
    deviations=(
        "The paper's body could not be read: none of its table cells is known here, only the claims of its abstract.",
        "MovieLens 100K stands in for Amazon Electronics and BookCrossing, which are fetched by hand (`data import`).",
        "An L2 weight is searched for Original and inherited by every trained row; the release has none.",
        "Validation AUC chooses hyperparameters for every row alike, and the iterate of the Adam loop in the released rows.",
        "Five or ten seeds and intervals; the release reports one seed.",
    ),
)
