"""Bad usage and bad input through the command line: exit code 2, one sentence on stderr that says what, where and what to do."""

import json
import socket
import sys
import urllib.request

import pytest
from craftbench import cli
from craftbench.benchmarks.store import FORMAT, Store, seal, unseal

SMOKE = ("--profile", "smoke", "--seeds", "1", "--trials", "1")


@pytest.fixture
def refused(monkeypatch, capsys):
    """refused("run", ...) -> the one sentence on stderr; fails on any other end. `said` first: what may be told before it."""

    def call(*words, said=()):
        monkeypatch.setattr(sys, "argv", ["craftbench", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        _, err = capsys.readouterr()
        assert left.value.code == 2
        assert "Traceback" not in err
        lines = [line for line in err.splitlines() if not line.startswith(tuple(said) or "\0")]
        assert len(lines) == 1, lines
        assert lines[0].startswith("craftbench: ")
        return lines[0].removeprefix("craftbench: ")

    return call


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("rum", "ifru"), "No such command 'rum'. Did you mean 'run'?"),
        (("run",), "Missing argument 'paper'."),
        (("run", "ifru", "--sed", "3"), "No such option: --sed"),
        (("run", "ifru", "--seeds", "0"), "Invalid value for '--seeds'"),
        (("run", "ifruu"), "unknown paper 'ifruu'; did you mean 'ifru'?"),
        (("reproduce", "ifruu"), "unknown paper 'ifruu'; did you mean 'ifru'?"),
        (("results", "ifruu"), "unknown paper 'ifruu'; did you mean 'ifru'?"),
        (("plan", "ifru", "--profile", "smok"), "unknown profile 'smok'; did you mean 'smoke'?"),
        (("report", "ifru", "--profile", "smok"), "unknown profile 'smok'; did you mean 'smoke'?"),
        (("list", "runner"), "unknown list 'runner'; did you mean 'runners'?"),
        (("run", "ifru", *SMOKE, "--runner", "popularit"), "unknown runner 'popularit'; did you mean 'popularity'?"),
        (("run", "ifru", *SMOKE, "--dataset", "sim-rating"), "unknown dataset 'sim-rating'; did you mean 'sim-ratings'?"),
        (("run", "ifru", *SMOKE, "--set", "popularity:smoothing=1"), "is not of the form ROW.param=value"),
        (("run", "ifru", *SMOKE, "--set", "popularit.smoothing=1"), "unknown row 'popularit'; did you mean 'popularity'?"),
        (("run", "ifru", *SMOKE, "--set", "popularity.smooth=1"), "unknown parameter 'smooth'; did you mean 'smoothing'?"),
        (
            ("run", "ifru", *SMOKE, "--set", "popularity.smoothing=-1"),
            "smoothing=-1: Input should be greater than or equal to 0.000001",
        ),
        (("run", "ifru", *SMOKE, "--set", "ifru.keep=1.5"), "keep=1.5: Input should be less than or equal to 1"),
        (("run", "ifru", *SMOKE, "--set", "ifru.solver=bfgs"), "solver='bfgs' is not one of 'cg', 'adam_as_released'"),
        (("run", "ifru", *SMOKE, "--retry", "all"), "unknown --retry 'all'"),
        (("run", "ifru", *SMOKE, "--within", "10"), "'10' is no length of time; write 90s, 10m or 2h"),
        (("sweep", "ifru", "--runner", "popularit", "--profile", "smoke"), "unknown runner 'popularit'"),
        (("sweep", "ifru", "--runner", "popularity", "--sampler", "tp"), "unknown --sampler 'tp'; did you mean 'tpe'?"),
        (("sweep", "ifru", "--runner", "popularity", "--pruner", "media"), "unknown --pruner 'media'; did you mean 'median'?"),
        (("sweep", "ifru", "--runner", "popularity", "--space", "smoothing=1..5"), "is not of the form name=log(a,b)"),
        (("check",), "give either MODULE:CLASS or --store DIR"),
        (("check", "no_such_module:Runner"), "there is no module 'no_such_module'"),
        (("check", "json:JSONDecoder"), "is not a subclass of craftbench.Runner"),
        (("data", "get", "ml-100"), "unknown dataset 'ml-100'; did you mean 'ml-100k'?"),
        (("data", "get", "bookcrossing"), "must be fetched by hand from http"),
        (("data", "check", "ml-100k"), "'ml-100k' is not on this machine; run: craftbench data get ml-100k"),
        (("data", "import", "sim-ratings", "x"), "sim-ratings is generated, not imported; run: craftbench data get sim-ratings"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_words_that_are_wrong(refused, tmp_path, monkeypatch, words, sentence):
    monkeypatch.setenv("CRAFTBENCH_STORE", str(tmp_path / "store"))
    assert sentence in refused(*words, said=("preparing",))


# Files

RATINGS = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n"


@pytest.mark.parametrize(
    ("name", "file", "content", "sentences"),
    [
        ("ml-100k", "u.data", None, ("u.data does not exist; give the path of u.data",)),
        ("ml-100k", "u.data", b"", ("u.data holds no ratings; correct the file or fetch it again",)),
        ("ml-100k", "u.data", RATINGS.encode(), ("u.data holds 2 ratings", "100000", "cut short", "fetch it again")),
        ("ml-100k", "u.data", (RATINGS + "1\t2\t9\t881250949\n").encode(), ("u.data", "line 3", "rating", "9")),
        ("ml-100k", "u.data", (RATINGS + "1\t2\n").encode(), ("u.data", "line 3")),
        ("ml-100k", "u.data", "196\t242\t3\t881250949\nü".encode("utf-16"), ("u.data",)),
        ("ml-latest-small", "ratings.csv", b"1,1,4.0,964982703\n1,3,4.0,964981247\n", ("ratings.csv", "line 1", "header")),
        ("amazon-electronics", "Electronics.csv", b"A,B,6.0,1\n", ("Electronics.csv", "expected lines such as")),
        (
            "bookcrossing-slice",
            "BX-Book-Ratings.csv",
            b'"User-ID";"ISBN";"Book-Rating"\n"1";"2";"5"\n',
            ("SHA-256 differs", "see http"),
        ),
    ],
    ids=["missing", "empty", "truncated", "out of range", "too few columns", "encoding", "no header", "amazon", "hash"],
)
def test_files_that_are_wrong(refused, tmp_path, monkeypatch, name, file, content, sentences):
    monkeypatch.setenv("CRAFTBENCH_DATA", str(tmp_path / "data"))
    if content is not None:
        (tmp_path / file).write_bytes(content)
    told = refused("data", "import", name, tmp_path / file)
    assert [sentence for sentence in sentences if sentence not in told] == [], told
    assert not (tmp_path / "data" / name).exists()  # nothing half-made stays


def test_a_prepared_dataset_that_was_changed(refused, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CRAFTBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "argv", ["craftbench", "data", "get", "sim-ratings"])
    with pytest.raises(SystemExit):
        cli.main()
    capsys.readouterr()
    file = tmp_path / "data" / "sim-ratings" / "ratings.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    told = refused("data", "check", "sim-ratings")
    assert "ratings.parquet" in told
    assert "run: craftbench data get sim-ratings" in told


def test_no_network(refused, tmp_path, monkeypatch):
    def down(*_, **__):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setenv("CRAFTBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(urllib.request, "urlopen", down)
    monkeypatch.setattr(socket, "getaddrinfo", down)
    told = refused("data", "get", "ml-100k")
    assert "could not get ml-100k" in told
    assert "craftbench data import ml-100k PATH" in told


def test_data_that_is_not_here_is_a_hole_with_its_command_and_no_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CRAFTBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "argv", ["craftbench", "plan", "ifru", "--store", str(tmp_path / "store"), "--json"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 0
    holes = json.loads(capsys.readouterr().out)["holes"]
    assert {hole["command"] for hole in holes} == {"craftbench data get ml-100k"}


# Stores


@pytest.fixture
def store(tmp_path, monkeypatch, capsys):
    """A store with four records of popularity."""
    words = ("run", "ifru", *SMOKE, "--runner", "popularity", "--jobs", "1", "--store", str(tmp_path / "store"))
    monkeypatch.setattr(sys, "argv", ["craftbench", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 0
    capsys.readouterr()
    return tmp_path / "store"


@pytest.mark.parametrize("command", ["plan", "run", "results", "check"])
def test_a_store_of_a_newer_version(refused, store, command):
    for file in store.glob("cells/**/record.json"):
        record = unseal(file.read_text(encoding="utf-8"))
        file.write_text(seal({**record, "format": FORMAT + 1}), encoding="utf-8")
    words = {"check": ("check",), "results": ("results", "ifru", "--profile", "smoke")}.get(command, (command, "ifru", *SMOKE))
    told = refused(*words, "--store", store)
    assert f"newer version (format {FORMAT + 1}, this one knows {FORMAT}); upgrade craftbench" in told
    assert len(list(store.glob("cells/**/record.json"))) == 4  # nothing is lost


def test_a_second_driver_is_told_who_holds_the_store(refused, store):
    with Store(store).locked("craftbench run ifru --seeds 3"):
        told = refused("run", "ifru", *SMOKE, "--store", store)
    assert "craftbench run ifru --seeds 3" in told


@pytest.mark.parametrize("command", ["plan", "run", "reproduce"])
def test_no_permission_to_write(refused, tmp_path, command):
    (tmp_path / "file").write_text("in the way")
    told = refused(command, "ifru", *SMOKE, "--store", tmp_path / "file" / "store", said=("preparing", "generating"))
    assert "cannot write to the store" in told
    assert "give another --store" in told


def test_no_permission_to_write_a_dataset(refused, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CRAFTBENCH_DATA", str(tmp_path / "file"))
    assert str(tmp_path / "file") in refused("data", "get", "sim-ratings")


def test_no_permission_to_write_a_report(refused, tmp_path):
    (tmp_path / "file").write_text("in the way")
    words = ("report", "ifru", "--store", tmp_path / "store", "--out", tmp_path / "file" / "out")
    assert "free that place or choose another" in refused(*words)


def test_a_store_whose_name_looks_like_an_address(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["craftbench", "plan", "ifru", *SMOKE, "--store", "sqlite:store"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 0
    assert (tmp_path / "sqlite:store" / "tasks").is_dir()
    assert "sim-ratings" in capsys.readouterr().out


def test_check_of_what_is_no_store(refused, tmp_path):
    assert "is no store; give the folder that --store named" in refused("check", "--store", tmp_path / "nowhere")


def test_export_to_what_is_no_storage(refused, store):
    assert "cannot open the Optuna storage 'nonsense'" in refused("export", "--optuna", "nonsense", "--store", store)
    told = refused("export", "--optuna", "oracle+absent://me@nowhere/searches", "--store", store)
    assert "cannot open the Optuna storage" in told


def test_export_without_a_driver(refused, store):
    told = refused("export", "--optuna", "mssql+pyodbc://me@nowhere/searches", "--store", store)
    assert "needs a database driver that is not installed; for PostgreSQL: pip install 'craftbench[postgresql]'" in told


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--backend", "rya"), "unknown --backend 'rya'; did you mean 'ray'?"),
        (("--address", "127.0.0.1:6379"), "--address is of a Ray cluster; add --backend ray"),
    ],
)
def test_a_place_for_cells_that_there_is_not(refused, tmp_path, words, sentence):
    assert sentence in refused("run", "ifru", *SMOKE, "--store", tmp_path / "store", *words)
    assert not (tmp_path / "store").exists()
