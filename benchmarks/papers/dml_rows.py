"""DML's rows: the paper's comparison, its label taken apart, and labels that came before and after."""

from __future__ import annotations

from typing import Any

from ...baselines.watch_time.cqe import CQE
from ...baselines.watch_time.cwm import CWM
from ...baselines.watch_time.d2co import D2Co
from ...baselines.watch_time.d2q import D2Q
from ...baselines.watch_time.dvr import DVR
from ...baselines.watch_time.floor import WatchFloor
from ...baselines.watch_time.log_seconds import LogTR
from ...baselines.watch_time.ndt import NDT
from ...baselines.watch_time.ordinal import OrdinalRegression
from ...baselines.watch_time.pcr import PCR
from ...baselines.watch_time.tr import TR
from ...baselines.watch_time.wlr import WLR
from ...baselines.watch_time.wtg import WTG
from ...methods.dml import DML
from ..benchmark import Role, Row

RANK: dict[str, Any] = {"debiased": True, "binary": "none"}


def _dml(key: str, title: str, role: Role, **pinned: Any) -> Row:
    said = "N, q and the groups of durations are searched, loss and decoder are ours; the paper's are not known"
    return Row(DML, key=key, title=title, role=role, pinned={**RANK, **pinned}, differs=said)


FLOOR = Row(WatchFloor, role="floor")
PUBLISHED = (Row(TR), Row(WLR), Row(OrdinalRegression, differs="50 cuts; the paper's are not known"), Row(D2Q))
HEADLINE = _dml("dml", "DML (wpr_d, ev)", "method", binary="ev")
PARTS = (
    _dml("dml_wpr", "DML (wpr)", "ablation", debiased=False),
    _dml("dml_wpr_d", "DML (wpr_d)", "ablation"),
    _dml("dml_lv", "DML (wpr_d, lv)", "ablation", binary="lv"),
)
HEADS = (
    _dml("dml_bce", "DML (wpr_d), cross-entropy", "ablation", loss="bce"),
    _dml("dml_softmax", "DML (wpr_d), softmax over levels", "ablation", loss="softmax", decoder="expected"),
    _dml("dml_cumulative", "DML (wpr_d), sigmoids above each level", "ablation", loss="cumulative", decoder="expected"),
)
LATER = (Row(PCR), Row(WTG), Row(DVR), Row(NDT), Row(D2Co), Row(CWM), Row(CQE))
MAIN = (FLOOR, *PUBLISHED, HEADLINE, *PARTS)
EASE = (Row(LogTR, role="control"),)
EVERY = (*MAIN, *HEADS, *LATER, *EASE)

CURVES = ("tr", "tr_log", "pcr", "dml_wpr", "dml_wpr_d")
GRID = ("watch_floor", "tr", "wlr", "d2q", "dml_wpr", "dml_wpr_d", "dml")


def named(names: tuple[str, ...]) -> tuple[Row, ...]:
    """Those of EVERY with these keys."""
    return tuple(row for row in EVERY if row.key in names)
