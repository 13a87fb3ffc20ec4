"""Our searches as Optuna studies, for optuna-dashboard. A copy: the records stay the truth."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from ..core.errors import UsageError
from ..core.params import Space
from .search import Tried, frozen
from .store import Store


def export_searches(store: Store, url: str) -> int:
    """Copy each study of every plan to the Optuna storage `url`, replacing one that is there; returns their number.

    A study of which the store holds no trial is left out.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.RDBStorage(url)
    except ImportError:
        raise UsageError(
            f"the Optuna storage {url!r} needs a database driver that is not installed; for PostgreSQL: "
            "pip install 'craftbench[postgresql]', and write postgresql+pg8000://USER@HOST/DATABASE"
        ) from None
    except Exception as error:
        raise UsageError(f"cannot open the Optuna storage {url!r}: {error}") from None
    try:
        return _copy_all(store, storage)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _copy_all(store: Store, storage: Any) -> int:
    import optuna

    present = {study.study_name for study in optuna.get_all_study_summaries(storage)}
    count = 0
    for file in sorted((store.root / "plans").glob("*.json")):
        plan = json.loads(file.read_text(encoding="utf-8"))
        for line in plan["lines"]:
            if line["study"] is None or not (trials := _trials(store, line["study"], plan["objective"])):
                continue
            name = f"{plan['paper']}.{plan['profile']}/{line['task']}/{line['row']}"
            if name in present:
                optuna.delete_study(study_name=name, storage=storage)
            study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
            study.set_user_attr("objective", plan["objective"])
            study.add_trials(trials)
            count += 1
    return count


def _trials(store: Store, study: dict[str, Any], objective: str) -> list[Any]:
    """The recorded trials as Optuna knows them: when they ran, and where each record lies."""
    spaces = {
        name: Space(**{**space, "choices": tuple(space["choices"]) if space["choices"] else None})
        for name, space in study["space"].items()
    }
    found: list[Any] = []
    for path in study["trials"]:
        record = store.read(path)
        if record is None:
            continue
        result, provenance = record["result"], record["provenance"]
        values = {name: record["cell"]["params"][name] for name in spaces}
        value = result["metrics"].get(objective) if result["status"] == "ok" else None
        curve = [(int(step), float(value)) for step, value in result["curve"]]
        trial = frozen(Tried(values, value, curve, result["status"] == "pruned"), spaces)
        trial.set_user_attr("record", path)
        if "started" in provenance:  # a worker that died did not say
            began = datetime.fromisoformat(provenance["started"]).astimezone().replace(tzinfo=None)
            trial.datetime_start, trial.datetime_complete = began, began + timedelta(seconds=provenance["cell_seconds"])
        found.append(trial)
    return found
