"""The command line: every command as documented, exit codes, and a runner from another package in the table."""

import json
import os
import shlex
import subprocess
import sys
import textwrap

import pytest
import typer
from craftbench import cli
from craftbench.commands import running

SMOKE = ("--profile", "smoke", "--seeds", "1", "--trials", "1")
FAST = ("ifru", *SMOKE, "--runner", "popularity", "--jobs", "1")  # rows without parents, fitted in milliseconds


@pytest.fixture
def craftbench(monkeypatch, capsys):
    """craftbench("run", ...) -> (exit code, stdout, stderr), in this process."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["craftbench", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return call


def elsewhere(*words, folder, **environment):
    """The same in a process of its own, in `folder`."""
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


# Words

DOCUMENTED = """
list
list papers
list runners --json
list datasets --json
plan ifru --profile quick --why --json
run ifru --runner ifru --runner retrain --dataset ml-100k --seeds 5 --trials 3 --jobs 2 --store DIR --set ifru.hops=2
run ifru --retry failed --within 10m
sweep ifru --runner ifru --dataset ml-100k --sampler tpe --pruner median --space "damping=log(1e-7,1e-3)" --trials 9 --timeout 2h
report
report ifru --store DIR --out DIR
reproduce all
reproduce ifru --runner ifru --seeds 5 --trials 3 --jobs 2 --store DIR --out DIR --set ifru.hops=2 --retry failed --within 10m
results ifru --store DIR --json
data list
data list --json
data get ml-100k
data check ml-100k
data import ml-100k PATH
check MODULE:CLASS
check --store DIR
export --optuna sqlite:///searches.db
new my_method --paper gradcraft --into DIR
new my_dataset --dataset --paper gradcraft
results ifru --profile standard --store DIR --reference FILE
verify
verify --paper ifru --paper dml --cells 20 --minutes 10 --seed 7 --reference DIR --jobs 2 --memory 2000 --json
power ifru --profile quick --store DIR --json
compare STORE_A STORE_B ifru --profile quick:standard --json
"""


@pytest.mark.parametrize("line", DOCUMENTED.strip().splitlines())
def test_every_documented_command_is_understood(line):
    command, words = typer.main.get_command(cli.app), shlex.split(line)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    assert command.make_context("craftbench", words).params


@pytest.mark.parametrize("words", [(), ("data",)])
def test_no_words_at_all_show_the_help(craftbench, words):
    code, out, err = craftbench(*words)
    assert (code, err) == (2, "")
    assert "Usage: craftbench" in out


# Lists


@pytest.mark.parametrize("what", ["papers", "runners", "datasets"])
def test_lists_fit_a_terminal_and_a_program(craftbench, what):
    code, out, _ = craftbench("list", what)
    assert code == 0
    assert out
    assert [line for line in out.splitlines() if len(line) > 80] == []
    code, out, _ = craftbench("list", what, "--json")
    assert code == 0
    assert {"papers": "ifru", "runners": "ifru", "datasets": "ml-100k"}[what] in json.dumps(json.loads(out))


def test_data_lists_what_list_does(craftbench):
    assert craftbench("data", "list")[1] == craftbench("list", "datasets")[1]


# Plan, run, look


def test_run_plan_results_report_check_export(craftbench, tmp_path):
    store = ("--store", tmp_path / "store")
    code, out, _ = craftbench("plan", "ifru", *SMOKE, *store, "--json")
    before = json.loads(out)
    assert (code, before["held"]) == (0, 0)

    code, out, err = craftbench("run", *FAST, *store)
    assert (code, out) == (0, "")
    assert "0 failed" in err
    code, _, err = craftbench("run", *FAST, *store)
    assert code == 0
    assert "\n0 cells computed, 4 were in the store" in f"\n{err}"  # 2 tasks, a trial and a seed each

    code, out, _ = craftbench("plan", "ifru", *SMOKE, *store, "--json")
    assert json.loads(out)["held"] == 4
    code, out, _ = craftbench("plan", "ifru", *SMOKE, *store, "--why")
    assert "never run" in out
    assert "4 cells are in the store" in out

    code, out, _ = craftbench("results", "ifru", "--profile", "smoke", *store, "--json")
    cells = json.loads(out)
    assert {"table", "dataset", "row", "column", "unit", "mean", "ci", "n", "published"} <= set(cells[0])
    assert {cell["row"] for cell in cells if cell["mean"] is not None and cell["column"] == "test/auc"} == {"popularity"}
    assert "popularity" in craftbench("results", "ifru", "--profile", "smoke", *store)[1]

    assert craftbench("check", *store)[:2] == (0, "4 records are sound, 0 were damaged\n")
    code, out, _ = craftbench("export", "--optuna", f"sqlite:///{tmp_path}/searches.db", *store)
    assert code == 0
    assert "studies copied" in out


def test_a_damaged_record_is_said_and_moved(craftbench, tmp_path):
    store = ("--store", tmp_path / "store")
    craftbench("run", *FAST, *store)
    victim = sorted((tmp_path / "store" / "cells").glob("**/metrics.parquet"))[0]
    data = bytearray(victim.read_bytes())
    data[20] ^= 1
    victim.write_bytes(data)
    code, out, _ = craftbench("check", *store)
    assert code == 1
    assert "metrics.parquet has another content" in out
    assert "3 records are sound, 1 were damaged" in out
    code, _, err = craftbench("run", *FAST, *store)
    assert code == 0
    assert "\n1 cells computed, 3 were in the store" in f"\n{err}"


def test_set_pins_a_value_instead_of_searching(craftbench, tmp_path):
    store = ("--store", tmp_path / "store")
    code, _, err = craftbench("run", *FAST, *store, "--set", "popularity.smoothing=2")
    assert code == 0
    assert err.splitlines()[-1].startswith("2 cells computed")  # no trial
    records = [json.loads(file.read_text()) for file in (tmp_path / "store" / "cells").glob("**/record.json")]
    assert {record["cell"]["params"]["smoothing"] for record in records} == {2.0}


def test_out_of_time_says_how_to_go_on(craftbench, tmp_path):
    code, _, err = craftbench("run", *FAST, "--store", tmp_path / "store", "--within", "0s")
    assert code == 0
    assert "out of time. Go on with: craftbench run ifru" in err


@pytest.mark.slow
def test_reproduce_and_report_leave_a_page(craftbench, tmp_path):
    places = ("--store", tmp_path / "store", "--out", tmp_path / "out")
    code, out, _ = craftbench("reproduce", *FAST, *places)
    assert code == 0
    assert "C1" in out
    assert str(tmp_path / "out" / "report.html") in out
    (tmp_path / "out" / "report.html").unlink()
    code, out, _ = craftbench("report", "ifru", "--profile", "smoke", *places)
    assert code == 0
    assert {"report.html", "report.json", "tables", "figures"} <= {each.name for each in (tmp_path / "out").iterdir()}


@pytest.mark.slow
def test_sweep_searches_one_row_and_reports(craftbench, tmp_path):
    asked = ("--runner", "popularity", "--space", "smoothing=log(1,10)", "--trials", "3", "--sampler", "random", "--jobs", "1")
    places = ("--store", tmp_path / "store", "--out", tmp_path / "out")
    code, _, _ = craftbench("sweep", "ifru", "--profile", "smoke", *asked, *places)
    assert code == 0
    assert (tmp_path / "out" / "report.html").is_file()
    records = [json.loads(file.read_text()) for file in (tmp_path / "store" / "cells").glob("**/record.json")]
    assert len(records) == 6
    assert all(1 <= record["cell"]["params"]["smoothing"] <= 10 for record in records)


def test_an_interrupt_leaves_with_130(craftbench, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "_run", interrupted)
    assert craftbench("run", *FAST)[0] == 130


# A process of its own


def test_python_dash_m(tmp_path):
    found = elsewhere("-m", "craftbench", "--help", folder=tmp_path)
    assert found.returncode == 0
    assert "reproduce" in found.stdout


HEAVY = "{'torch', 'numpy', 'pandas', 'optuna', 'scipy', 'matplotlib', 'pydantic', 'pyarrow'}"


@pytest.mark.parametrize("what", ["import craftbench", "import craftbench.cli", "from craftbench.cli import app; app(['--help'])"])
def test_nothing_heavy_is_imported_before_it_is_needed(tmp_path, what):
    code = f"import atexit, sys; atexit.register(lambda: print('heavy:', sorted({HEAVY} & set(sys.modules)))); {what}"
    found = elsewhere("-c", code, folder=tmp_path)
    assert found.stdout.splitlines()[-1] == "heavy: []", found.stderr


def test_the_face_of_the_package(tmp_path):
    code = "import craftbench; print([getattr(craftbench, name) for name in craftbench.__all__])"
    found = elsewhere("-c", code, folder=tmp_path)
    assert found.returncode == 0, found.stderr


# A runner from another package

OUTSIDE = {
    "pyproject.toml": """
        [build-system]
        requires = ["setuptools"]
        build-backend = "setuptools.build_meta"

        [project]
        name = "shy"
        version = "1.0"

        [project.entry-points."craftbench.runners"]
        shy = "shy:Shy"

        [tool.setuptools]
        py-modules = ["shy"]
    """,
    "shy.py": '''
        """Item means, by a package of its own."""

        import os

        import numpy as np
        from craftbench import Params, Runner
        from craftbench.core.params import real
        from craftbench.core.task import UnlearningTask


        class ShyParams(Params):
            prior: float = real(1.0, low=0.1, high=10.0, log=True, minimum=0.0)


        class FittedShy:
            def __init__(self, item):
                self.item = item

            def predict(self, view):
                return {"score": self.item[view.columns["item"]]}

            def save(self, folder):
                np.save(folder / "item.npy", self.item)

            @classmethod
            def load(cls, folder):
                return cls(np.load(folder / "item.npy"))


        class Shy(Runner):
            name, title, task, Params, fitted = "shy", "Shy", UnlearningTask, ShyParams, FittedShy

            def fit(self, task, params, run):
                if os.environ.get("SHY_TODAY"):
                    raise RuntimeError("not today")
                rows = task.retained
                positives = np.bincount(rows.item, weights=rows.label, minlength=rows.items) + params.prior
                count = np.bincount(rows.item, minlength=rows.items) + 2 * params.prior
                return FittedShy((positives / count).astype(np.float32))
    ''',
}


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A folder with the package installed in it, for PYTHONPATH."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name, text in OUTSIDE.items():
        (source / name).write_text(textwrap.dedent(text).lstrip())
    assert sum(len((source / name).read_text().splitlines()) for name in OUTSIDE) <= 60
    install = ("install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target), str(source))
    done = elsewhere("-m", "pip", *install, folder=source)
    assert done.returncode == 0, done.stderr
    return target


def _rows(found):
    return {cell["row"]: cell for cell in json.loads(found.stdout) if cell["table"] == "T2" and cell["column"] == "test/auc"}


@pytest.mark.slow
def test_a_runner_of_another_package_is_checked_and_stands_in_the_table(outside, tmp_path):
    def craftbench(*words, **more):
        return elsewhere("-m", "craftbench", *words, folder=tmp_path, PYTHONPATH=str(outside), CRAFTBENCH_STORE="store", **more)

    checked = craftbench("check", "shy:Shy")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "shy:Shy keeps its contract" in checked.stdout
    listed = json.loads(craftbench("list", "runners", "--json").stdout)
    assert [line["runner"] for line in listed if line["outside"]] == ["shy"]

    asked = ("run", *FAST, "--runner", "shy")
    failed = craftbench(*asked, SHY_TODAY="1")
    assert failed.returncode == 1
    assert "RuntimeError: not today" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert craftbench(*asked).returncode == 1  # a failed cell is not run again unasked
    ran = craftbench(*asked, "--retry", "failed")
    assert ran.returncode == 0, ran.stderr

    rows = _rows(craftbench("results", "ifru", "--profile", "smoke", "--json"))
    assert rows["shy"]["mean"] > 0.5
    assert rows["popularity"]["mean"] > rows["shy"]["mean"]  # it knows users too
    assert rows["ifru"]["mean"] is None


def test_a_name_that_is_taken():
    from craftbench.baselines.unlearning.popularity import Popularity
    from craftbench.benchmarks.catalogue import declared, joined
    from craftbench.core.errors import UsageError

    with pytest.raises(UsageError, match=r"the name 'popularity' of .*:Popularity is taken"):
        joined(declared("ifru"), [Popularity])


def test_it_gets_the_network_of_the_rows_beside_it():
    from craftbench.baselines.multitask.ew import EW
    from craftbench.benchmarks.catalogue import declared, joined

    class Outside(EW):
        name = "outside"

    for profile in joined(declared("gradcraft"), [Outside]).profiles.values():
        for rows in profile.rows.values():
            conditions = {row.key: (row.pinned, row.start) for row in rows}
            assert conditions["outside"] == conditions["ew"]


@pytest.mark.parametrize(
    ("group", "entry", "sentence"),
    [
        ("runners", "no_such_module:Runner", "cannot be imported (ModuleNotFoundError: No module named 'no_such_module')"),
        ("runners", "json:JSONDecoder", "is not a subclass of craftbench.Runner"),
        ("datasets", "no_such_module:DATASET", "cannot be imported (ModuleNotFoundError: No module named 'no_such_module')"),
        ("datasets", "json:JSONDecoder", "is no Recorded or Simulated of craftbench.datasets.entries"),
    ],
)
def test_a_package_whose_entry_point_is_wrong(tmp_path, group, entry, sentence):
    info = tmp_path / "wrong-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[craftbench.{group}]\nwrong = {entry}\n")
    found = elsewhere("-m", "craftbench", "list", group, folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert found.returncode == 2
    assert sentence in found.stderr
    assert len(found.stderr.splitlines()) == 1
