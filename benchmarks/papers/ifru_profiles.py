"""IFRU's rows and budgets: what each profile compares, on which tasks, with how many seeds and trials."""

from __future__ import annotations

from dataclasses import replace

from ...baselines.unlearning.fine_tuning import FineTuning
from ...baselines.unlearning.original import Original
from ...baselines.unlearning.popularity import Popularity
from ...baselines.unlearning.receraser import RecEraser
from ...baselines.unlearning.retrain import Retrain
from ...baselines.unlearning.scif import SCIF
from ...baselines.unlearning.sisa import SISA
from ...baselines.unlearning.ultrare import UltraRE
from ...datasets.requests import RequestSpec
from ...methods.ifru import IFRU
from ..benchmark import Profile, Row, Scope, Timing
from ..unlearning_task import UnlearningSpec

# Rows. Trained rows inherit Original's lr, dim, init_std and l2, so that they differ from it in data alone.
SISA_DIFFERS = "aggregated by learned attention, as IFRU's release does; the SISA paper averages"
MAIN = (
    Row(Original, role="floor"),
    Row(Retrain, role="target", inherits="original"),
    Row(SISA, inherits="original", differs=SISA_DIFFERS),
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

SEQUENCE = Row(
    IFRU, key="ifru_sequence", title="IFRU, in sequence", role="ablation", pinned={"answer": "in_sequence"}, inherits="ifru"
)

KEEPS = (0.2, 0.4, 0.6, 0.8)  # of the nodes in reach of one hop; all of them is IFRU itself
SELECTIONS = {"importance": "by importance", "random": "at random", "degree": "by degree", "gradient_norm": "by gradient norm"}


def pruned_key(keep: float, selection: str) -> str:
    """The key of a row that keeps a share of the nodes in reach, and how it chooses them."""
    return f"ifru_h1_k{keep:g}" + ("" if selection == "importance" else f"_{selection}")


def _pruned(keep: float, selection: str) -> Row:
    key = pruned_key(keep, selection)
    title = f"IFRU, {100 * keep:g} % {SELECTIONS[selection]}"
    return Row(IFRU, key=key, title=title, role="ablation", pinned={"keep": keep, "selection": selection}, inherits="ifru")


def _curved(curvature: str, title: str) -> Row:
    pinned = {"curvature": curvature, "step": 1e-2}
    return Row(
        IFRU, key=f"ifru_{curvature}", title=f"IFRU, {title}", role="ablation", pinned=pinned, differs="damping alone is searched"
    )


PRUNED = tuple(_pruned(keep, selection) for selection in SELECTIONS for keep in KEEPS)
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
    Row(
        IFRU,
        key="ifru_unsearched",
        title="IFRU, no label used",
        role="ablation",
        pinned={"step": 1e-2, "damping": 1e-4, "curvature": "gauss_newton"},
        differs="default damping, no search: no validation label chooses anything after Original",
    ),
)


def task_of(
    backbone: str, share: float, dataset: str = "ml-100k", kind: str = "flipped", requests: int = 1, variant: str = ""
) -> UnlearningSpec:
    scopes: dict[str, Scope] = {"bookcrossing": "paper's data", "amazon-electronics": "paper's data"}
    scope = scopes.get(dataset, "simulated" if dataset.startswith("sim-") else "real stand-in")
    return UnlearningSpec(dataset, RequestSpec(kind, share, requests), backbone, scope, variant=variant)


def _rows(task: UnlearningSpec, *more: Row) -> tuple[Row, ...]:
    graph = (DIRECT,) if task.backbone == "lightgcn" else (HOP_0,)
    return (*MAIN, _as_released(task.backbone), *CONTROLS, *graph, *more)


SMOKE_TASKS = (task_of("mf", 0.1, "sim-ratings"), task_of("lightgcn", 0.1, "sim-ratings"))
SHARDED = ("sisa", "receraser")  # ten sub-models a fit: in quick on one task, elsewhere holes with their command
QUICK_TASKS = (task_of("mf", 0.02), task_of("mf", 0.1), task_of("lightgcn", 0.1))
STANDARD_MAIN = (task_of("mf", 0.02), task_of("mf", 0.1), task_of("lightgcn", 0.1))  # every row, ablation and extra
STANDARD_L2_0 = (task_of("mf", 0.02, variant="l2-0"), task_of("mf", 0.1, variant="l2-0"), task_of("lightgcn", 0.1, variant="l2-0"))
STANDARD_CLEAN = (task_of("mf", 0.02, kind="rows"), task_of("mf", 0.05, kind="users"), task_of("mf", 0.01, kind="item"))
STANDARD_SEQUENCE = (task_of("mf", 0.05, kind="sequence", requests=10), task_of("lightgcn", 0.05, kind="sequence", requests=10))
STANDARD_SIZES = (task_of("mf", 0.001), task_of("mf", 0.005), task_of("mf", 0.01), task_of("mf", 0.05), task_of("lightgcn", 0.01))
STANDARD_GENERIC = (task_of("fm", 0.1), task_of("neumf", 0.1))
STANDARD_SLICE = (task_of("mf", 0.02, "bookcrossing-slice"), task_of("lightgcn", 0.1, "bookcrossing-slice"))
PAPER_DATA = tuple(
    task_of(backbone, share, dataset)
    for dataset in ("amazon-electronics", "bookcrossing")
    for backbone, share in (("mf", 0.02), ("lightgcn", 0.01))
)


def _quick_rows(task: UnlearningSpec) -> tuple[Row, ...]:
    """Small tables, and what ten sub-models cost on one task only; the rest are holes with their command."""
    kept = [row for row in _rows(task) if row.key != "ultrare" and (row.key not in SHARDED or task == QUICK_TASKS[1])]
    differs = "embeddings of 16 in this profile, and so in every row that inherits them"
    small = {
        "original": Row(Original, role="floor", pinned={"dim": 16}, differs=differs),
        "sisa": Row(
            SISA, inherits="original", pinned={"aggregator_lr": 1.0}, differs=f"{SISA_DIFFERS}; not searched in this profile"
        ),
    }
    return tuple(small.get(row.key, row) for row in kept)


def _smoke_rows(task: UnlearningSpec) -> tuple[Row, ...]:
    return _rows(task) if task.backbone == "mf" else _unsharded(task)


def _standard_rows(task: UnlearningSpec) -> tuple[Row, ...]:
    pruned = PRUNED if task == task_of("mf", 0.1) else ()
    old_graph = (OLD_GRAPH,) if task.backbone == "lightgcn" else ()
    return _rows(task, *EXTRAS, *old_graph, *pruned)


def _unsharded(task: UnlearningSpec) -> tuple[Row, ...]:
    """Requests other than the main ones: every row but the shard methods, whose cost does not depend on the request."""
    return tuple(row for row in _rows(task) if row.key not in (*SHARDED, "ultrare"))


def _l2_0(task: UnlearningSpec) -> tuple[Row, ...]:
    """As released: no L2 anywhere."""
    bare = Row(Original, role="floor", pinned={"l2": 0.0})
    return tuple(bare if row.key == "original" else row for row in _unsharded(task))


def _generic(task: UnlearningSpec) -> tuple[Row, ...]:
    """Models without a closed form: IFRU through the matrix-free path."""
    kept = ("original", "retrain", "ifru", "placebo", "fine_tuning", "popularity")
    return tuple(row for row in _rows(task) if row.key in kept)


FIT_SECONDS = {"*": 0.3, "original": 1.0, "retrain": 1.2, "sisa": 18.0, "receraser": 5.0, "ultrare": 5.0, "popularity": 0.1}

REQUESTS = "craftbench.benchmarks.papers.ifru_timing:whole_requests"
ALONE = "Each row's whole answer to the request, default settings, interleaved, two threads, alone on the machine."
TIMED_QUICK = Timing(
    key="ml100k",
    title="One request on MovieLens 100K (MF, 2 % flipped)",
    task=QUICK_TASKS[0],
    measure=REQUESTS,
    repeats=3,
    arguments={"steps": ["retrain", "retrain_row_sparse", "receraser", "scif", "ifru", "ifru_hop0"]},
    note=ALONE,
)
TIMED = (
    replace(TIMED_QUICK, repeats=5, arguments={}),
    Timing(
        key="large",
        title="One request at the paper's size (MF, 2 % flipped, 1 M training rows)",
        task=task_of("mf", 0.02, "sim-ratings-large"),
        measure="craftbench.benchmarks.papers.ifru_timing:paper_size",
        repeats=2,
        note="Simulated ratings; ten epochs for every training; dense trainings are projected from their steps.",
    ),
)

PROFILES = {
    "smoke": Profile(
        name="smoke",
        tasks=SMOKE_TASKS,
        rows={task.key: _smoke_rows(task) for task in SMOKE_TASKS},
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
        timings=(TIMED_QUICK,),
        deadline=600,
    ),
    "standard": Profile(
        name="standard",
        tasks=(
            *STANDARD_MAIN,
            *STANDARD_L2_0,
            *STANDARD_CLEAN,
            *STANDARD_SEQUENCE,
            *STANDARD_SIZES,
            *STANDARD_GENERIC,
            *STANDARD_SLICE,
            *PAPER_DATA,
        ),
        rows={
            **{task.key: _standard_rows(task) for task in STANDARD_MAIN},
            **{task.key: _l2_0(task) for task in STANDARD_L2_0},
            **{task.key: _unsharded(task) for task in (*STANDARD_CLEAN, *STANDARD_SIZES, *STANDARD_SLICE)},
            **{task.key: (*_unsharded(task), SEQUENCE) for task in STANDARD_SEQUENCE},
            **{task.key: _generic(task) for task in STANDARD_GENERIC},
            **{task.key: _rows(task) for task in PAPER_DATA},
        },
        seeds=10,
        trials=8,
        core_seconds=8 * 3600,
        fit_seconds=FIT_SECONDS,
        timings=TIMED,
        recheck=3,
        tuning_seeds=3,
        deadline=3600,
    ),
}
