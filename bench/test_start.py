"""How long it takes to begin: `import craftbench`, `craftbench --help`, and a worker that is forked from a server with torch."""

from __future__ import annotations

import multiprocessing
import statistics
import subprocess
import sys
import time

from craftbench.benchmarks.backends.local import PRELOAD

from .interleave import interleave

HELP = "import sys; sys.argv = ['craftbench', '--help']; from craftbench.cli import main; main()"


def python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_import_and_help(ledger):
    """Medians, and the least of the rounds, which other work on the machine disturbs least and the targets are held to."""
    steps = {"python": lambda: python("pass"), "import": lambda: python("import craftbench"), "help": lambda: python(HELP)}
    race = interleave("", steps, rounds=15)
    least = {name: min(seconds) for name, seconds in race.seconds.items()}
    ledger.note("`import craftbench`, beyond an empty interpreter, median", race.median("import") - race.median("python"), "s")
    ledger.note("`import craftbench`, least", least["import"] - least["python"], "s", target=0.2)
    ledger.note("`craftbench --help`, whole process, median", race.median("help"), "s")
    ledger.note("`craftbench --help`, least", least["help"], "s", target=0.5)


def test_worker_start(ledger):
    """From the start of a cell's process to its end, when the process has nothing to do."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOAD])
    seconds = []
    for _ in range(21):
        start = time.perf_counter()
        process = context.Process(target=int)
        process.start()
        process.join()
        seconds.append(time.perf_counter() - start)
    fresh = statistics.median(interleave("", {"import": lambda: python("import torch, pandas")}, rounds=3).seconds["import"])
    ledger.note("worker, start to end, forked from the server", 1e3 * statistics.median(seconds[1:]), "ms")
    ledger.note("the same in a fresh interpreter (imports torch, pandas)", 1e3 * fresh, "ms")
