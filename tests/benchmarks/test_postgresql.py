"""Searches in a real PostgreSQL server, which the test starts for itself where one is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from craftbench.benchmarks.export import export_searches
from craftbench.benchmarks.store import Store
from toybench import Lines, toy
from toyhouse import drive, records, written_plan

pytestmark = pytest.mark.slow


def _programs() -> Path | None:
    """The folder of the newest server's programs."""
    there = shutil.which("initdb")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: float(file.parts[-3]))
    return Path(there).parent if there else installed[-1].parent if installed else None


def _user() -> str | None:
    """The server refuses to be run by root."""
    if os.geteuid():
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres'")


@pytest.fixture
def server() -> Iterator[str]:
    """The address of an empty database; listens on a socket in a folder of its own alone."""
    pytest.importorskip("pg8000", reason="no driver: pip install 'craftbench[postgresql]'")
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    user, folder = _user(), Path(tempfile.mkdtemp(prefix="pg"))  # short, for the name of the socket
    if user:
        shutil.chown(folder, user)

    def call(program: str, *words: str) -> None:
        done = subprocess.run(
            [programs / program, "-D", folder / "data", *words], user=user, cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        call("initdb", "--username=searcher", "--auth=trust", "--no-sync")
        call("pg_ctl", "start", "--wait", "--log", f"{folder}/log", "-o", f"-c listen_addresses='' -c fsync=off -k {folder}")
        yield f"postgresql+pg8000://searcher@/postgres?unix_sock={folder}/.s.PGSQL.5432"
        call("pg_ctl", "stop", "--wait", "--mode=immediate")
    finally:
        shutil.rmtree(folder)


def test_searches_go_to_postgresql_and_back(server: str, tmp_path: Path) -> None:
    import optuna

    store = tmp_path / "store"
    drive(toy(tasks=[Lines()], trials=6, pruner="median"), store)
    for _ in range(2):  # the second copy replaces the first
        assert export_searches(Store(store), server) == 3
    storage = optuna.storages.RDBStorage(server)
    try:
        names = {each.study_name for each in optuna.get_all_study_summaries(storage)}
        assert names == {f"toy.smoke/lines/low/{row}" for row in ("descent", "shrink", "twin")}
        whole = records(store)
        for line in written_plan(store)["lines"]:
            if line["study"] is None:
                continue
            study = optuna.load_study(study_name=f"toy.smoke/lines/low/{line['row']}", storage=storage)
            for trial, path in zip(study.trials, line["study"]["trials"], strict=True):
                record = whole[path]
                assert trial.value == record["result"]["metrics"].get("valid/fit")
                assert trial.state.name == {"ok": "COMPLETE", "pruned": "PRUNED"}[record["result"]["status"]]
                assert trial.params == {name: record["cell"]["params"][name] for name in line["study"]["space"]}
    finally:
        storage.remove_session()
        storage.engine.dispose()
