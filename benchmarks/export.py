"""Our searches as Optuna studies, for optuna-dashboard. A copy: the records stay the truth."""

from __future__ import annotations

import json
from typing import Any

from ..core.errors import UsageError
from ..core.params import Space
from .search import Tried, frozen
from .store import Store


def export_searches(store: Store, url: str) -> int:
    """Copy each study of every plan to the Optuna storage `url`, replacing one that is there; returns their number."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.RDBStorage(url)
    except Exception as error:
        raise UsageError(f"cannot open the Optuna storage {url!r}: {error}") from None
    present = {study.study_name for study in optuna.get_all_study_summaries(storage)}
    count = 0
    for file in sorted((store.root / "plans").glob("*.json")):
        plan = json.loads(file.read_text(encoding="utf-8"))
        for line in plan["lines"]:
            if line["study"] is None:
                continue
            name = f"{plan['paper']}.{plan['profile']}/{line['task']}/{line['row']}"
            if name in present:
                optuna.delete_study(study_name=name, storage=storage)
            _copy(
                store, line["study"], plan["objective"], optuna.create_study(storage=storage, study_name=name, direction="maximize")
            )
            count += 1
    return count


def _copy(store: Store, study: dict[str, Any], objective: str, target: Any) -> None:
    spaces = {
        name: Space(**{**space, "choices": tuple(space["choices"]) if space["choices"] else None})
        for name, space in study["space"].items()
    }
    for path in study["trials"]:
        record = store.read(path)
        if record is None:
            continue
        result = record["result"]
        values = {name: record["cell"]["params"][name] for name in spaces}
        value = result["metrics"].get(objective) if result["status"] == "ok" else None
        curve = [(int(step), float(value)) for step, value in result["curve"]]
        target.add_trial(frozen(Tried(values, value, curve, result["status"] == "pruned"), spaces))
