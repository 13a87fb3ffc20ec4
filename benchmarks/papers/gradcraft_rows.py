"""GradCraft's rows: the paper's comparison, what came later, the ablations, and the release as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...baselines.multitask.aligned_mtl import AlignedMTL
from ...baselines.multitask.cagrad import CAGrad
from ...baselines.multitask.dbmtl import DBMTL
from ...baselines.multitask.dwa import DWA
from ...baselines.multitask.ew import EW
from ...baselines.multitask.famo import FAMO
from ...baselines.multitask.gradnorm import GradNorm
from ...baselines.multitask.gradvac import GradVac
from ...baselines.multitask.imtl import IMTL
from ...baselines.multitask.mgda import MGDA
from ...baselines.multitask.nash_mtl import NashMTL
from ...baselines.multitask.pcgrad import PCGrad, PCGradPlus
from ...baselines.multitask.rates import Rates
from ...baselines.multitask.rlw import RLW
from ...baselines.multitask.single import Single
from ...baselines.multitask.uc import UC
from ...baselines.multitask.upgrad import UPGrad
from ...methods.gradcraft import GradCraft
from ..benchmark import Row

PAPER_EPS: dict[str, Any] = {"eps": 1e-10}

FLOOR = Row(Rates, role="floor")
SINGLE = Row(Single, role="floor", differs="one setting for all of its models; the release searches each task's own")
CRAFT = Row(GradCraft, role="method", pinned=PAPER_EPS)
BALANCERS = (
    Row(EW),
    Row(UC),
    Row(DWA),
    Row(MGDA),
    Row(PCGrad),
    Row(PCGradPlus),
    Row(GradVac),
    Row(CAGrad),
    Row(IMTL, differs="IMTL-G; which variant the paper's column is, is not known"),
    Row(DBMTL, differs="without the running mean of gradients, which makes it step 1 of GradCraft at tau = 1"),
    CRAFT,
)
COMPARED = (FLOOR, SINGLE, *BALANCERS)
MAIN = (*COMPARED, Row(GradCraft, key="gradcraft_eps", title="GradCraft, eps searched", role="method"))

LATER = (
    Row(GradNorm),
    Row(RLW),
    Row(NashMTL),
    Row(AlignedMTL),
    Row(FAMO),
    Row(UPGrad),
    Row(
        GradCraft,
        key="gradcraft_dual",
        title="GradCraft, dual cone",
        role="method",
        pinned={**PAPER_EPS, "projection": "dual_cone"},
        differs="conflicts with no task, by inequalities; not in the paper",
    ),
)


def _ablation(key: str, title: str, **pinned: Any) -> Row:
    return Row(GradCraft, key=key, title=title, role="ablation", pinned={**PAPER_EPS, **pinned})


ABLATIONS = (
    _ablation("gradcraft_eps0", "GradCraft, eps = 0", eps=0.0),
    _ablation("gradcraft_tau1", "GradCraft, tau = 1", tau=1.0),
    _ablation("gradcraft_tau0", "GradCraft, tau = 0", tau=0.0),
)

# F2: one value changed, the rest as GradCraft's study chose it. Outside [1e-4, 1e-1] eps changes nothing that can be seen.
TAUS, EPSILONS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0), (1e-12, 1e-8, 1e-4, 1e-3, 1e-2, 1e-1)
BY_TAU = tuple(
    Row(
        GradCraft,
        key=f"gradcraft_tau_{tau:g}",
        title=f"GradCraft, tau {tau:g}",
        role="ablation",
        inherits="gradcraft",
        pinned={**PAPER_EPS, "tau": tau},
    )
    for tau in TAUS
)
BY_EPS = tuple(
    Row(
        GradCraft,
        key=f"gradcraft_eps_{eps:g}",
        title=f"GradCraft, eps {eps:g}",
        role="ablation",
        inherits="gradcraft",
        pinned={"eps": eps},
    )
    for eps in EPSILONS
)

# As released: balanced over all parameters, each task's own part weighted, and a second Adam step a batch for the penalty.
TWO_STEPS: dict[str, Any] = {"adam_steps": "two"}
AS_RELEASED: dict[str, Any] = {"scope": "all", "specific": "weighted", **TWO_STEPS}


def _released(row: Row, title: str, differs: str, **pinned: Any) -> Row:
    return replace(row, key=f"{row.key}_released", title=f"{title} as released", pinned={**row.pinned, **pinned}, differs=differs)


_ALL = "balanced over all parameters, own parts weighted, two Adam steps a batch"
_BY_NAME = {row.key: row for row in (*BALANCERS, *LATER)}
RELEASED = (
    _released(_BY_NAME["uc"], "UC", "the release's objective", variant="as_released"),
    _released(_BY_NAME["dwa"], "DWA", "loss ratios of batches", variant="as_released"),
    _released(_BY_NAME["pcgrad"], "PCGrad", _ALL, **AS_RELEASED),
    _released(_BY_NAME["gradvac"], "GradVac", f"{_ALL}; targets only fall", variant="as_released", **AS_RELEASED),
    _released(_BY_NAME["cagrad"], "CAGrad", _ALL, **AS_RELEASED),
    _released(_BY_NAME["dbmtl"], "DBMTL", "no logarithm, summed, two Adam steps a batch", variant="as_released", **TWO_STEPS),
    _released(_BY_NAME["gradnorm"], "GradNorm", f"alpha .5; {_ALL}", variant="as_released", alpha=0.5, **AS_RELEASED),
    _released(CRAFT, "GradCraft", _ALL, **AS_RELEASED),
    Row(
        GradCraft,
        key="gradcraft_two_steps",
        title="GradCraft, two Adam steps",
        role="ablation",
        pinned={**PAPER_EPS, **TWO_STEPS},
        differs="shared scope; a second Adam step a batch, as released",
    ),
)
EVERY = (*MAIN, *LATER, *ABLATIONS, *RELEASED, *BY_TAU, *BY_EPS)
