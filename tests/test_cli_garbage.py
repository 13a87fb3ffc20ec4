"""Every command with garbage for every argument and option: an exit code, and one sentence on stderr where that is 2."""

import itertools
import os
import random
import subprocess
import sys

import pytest
import typer
from craftbench import cli
from craftbench.benchmarks.driver import Driver, Tally
from craftbench.core.errors import UsageError
from craftbench.datasets import catalogue
from craftbench.datasets.sources import LocalPath
from craftbench.report import write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

GARBAGE = (
    "", " ", "-", "--", "---", "-1", "0", "1.5", "nan", "inf", "1e999", "9" * 400, "true", "None", "=", ".", "..", "../..", ":",
    "::", "a.b=c", "ifru.", "ifru.hops", "ifru.hops=", "ifru.hops=nan", "ifru.hops=[[[[", "ifru.hops=" + "9" * 5000,
    "ifru.hops={}", "popularity.smoothing=1e999", "damping=log(0,0)", "damping=log(nan,1)", "damping=(,)", "damping=log(1e-7",
    "[" * 5000, "{}", "*", "?", "~", "$HOME", "`id`", "; rm x", "é", "\u202e\u200b", "\x1b[31mred", "a\nb", "\t", "x" * 10_000,
    "/dev/null", "/dev/null/x", "/proc/self/mem", "\udcff\udcfe", "sqlite:///", "sqlite:////dev/null/x.db", "http://[", "json:",
    ":JSONDecoder", "json:no_such", "..:x", "json.:x", "--help-me", "--json=1", "--seeds", "-x", "@file", "0s", "9" * 400 + "h",
    "-5m", "1e3s", "failed",
)  # fmt: skip
VALID = {
    "paper": "ifru",
    "papers": "ifru",
    "profile": "smoke",
    "name": "ml-100k",
    "path": "nowhere",
    "runner": "popularity",
    "optuna": "nonsense",
    "what": "papers",
    "a": "nowhere",
    "b": "nowhere",
}


def commands():
    """(words that call it, its parameters) of every command."""
    top = typer.main.get_command(cli.app)
    for name, command in top.commands.items():
        for inner, below in getattr(command, "commands", {"": command}).items():
            yield [name, inner] if inner else [name], below.params


COMMANDS = list(commands())


def words_of(words, params, rng, garbage):
    """A call with everything that is required, and garbage for one of its parameters or one more."""
    told, which = [*words], rng.choice([*params, None])
    for param in params:
        if param is not which and not param.required and param.name not in ("papers", "profile"):
            continue
        value = garbage if param is which else VALID[param.name]
        if param.param_type_name == "argument":
            told.append(value)
        elif getattr(param, "is_flag", False):
            told.append(f"{param.opts[0]}={value}")
        else:
            told += [param.opts[0], value]
    return [*told, garbage] if which is None else told


@pytest.fixture
def outcome(monkeypatch, capsys, tmp_path):
    """outcome(words) -> exit code; what computes, downloads or draws is left out, what reads words is not."""
    monkeypatch.setenv("CRAFTBENCH_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Driver, "run", lambda self: Tally())
    monkeypatch.setattr(write, "_draw", lambda *_: iter(()))
    monkeypatch.setattr(catalogue, "_prepare", only_local)

    def call(words):
        monkeypatch.setattr(sys, "argv", ["craftbench", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        code = left.value.code or 0
        assert code in (0, 1, 2), words
        assert "Traceback" not in said.err
        if code == 2 and said.err:
            last = [line for line in said.err.splitlines() if line.startswith("craftbench: ")]
            assert len(last) == 1, said.err
            assert said.err.endswith(last[0] + "\n"), "a sentence of more than one line"
            assert len(last[0]) < 12_000
        return code

    return call


prepare = catalogue._prepare


def only_local(entry, source, home, say):
    if not isinstance(source, LocalPath):
        raise UsageError("nothing is fetched in a test")
    return prepare(entry, source, home, say)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(COMMANDS), st.randoms(use_true_random=False), st.sampled_from(GARBAGE))
def test_garbage_is_one_sentence(outcome, command, rng, garbage):
    outcome(words_of(*command, rng, garbage))


@pytest.mark.parametrize(
    "words", ["results ifru --reference LONG", "verify --reference LONG", "compare LONG LONG", "new LONG --paper ifru"]
)
def test_a_name_that_no_disk_takes_is_one_sentence(outcome, words):
    assert outcome(words.replace("LONG", "x" * 400).split()) == 2


@pytest.mark.soak
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[0]))
def test_all_garbage_for_every_parameter_is_one_sentence(outcome, command):
    for seed, garbage in itertools.product(range(3 * len(command[1])), GARBAGE):
        outcome(words_of(*command, random.Random(seed), garbage))


@pytest.mark.parametrize("option", ["--seeds", "--trials", "--jobs"])
@pytest.mark.parametrize("number", ["1000000000", "9" * 400])
def test_no_number_is_so_large_that_planning_would_never_end(outcome, option, number):
    assert outcome(["run", "ifru", "--profile", "smoke", option, number]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("words", [["list", b"\xff"], ["plan", "ifru", "--store", b"st\xff"], ["data", "check", b"\xff"]])
def test_bytes_that_are_no_text(words, tmp_path):
    """As a shell may hand them over."""
    command = [sys.executable, "-m", "craftbench", *words]
    environment = {**os.environ, "PYTHONUTF8": "1", "CRAFTBENCH_DATA": str(tmp_path / "data")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False, timeout=120)
    assert done.returncode in (0, 2)
    assert b"Traceback" not in done.stderr
