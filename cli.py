"""The command line: which commands there are, and what an error becomes.

Exit codes: 0 everything that could run here ran; 1 some cells failed (the report shows the holes); 2 bad usage or input.
"""

from __future__ import annotations

import errno
import os
import sys

import typer

from .commands import auditing, data, making, reading, running
from .core.errors import UsageError

app = typer.Typer(
    help="Reproduce recommender-system papers: tables, figures and a verdict on each claim.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    reading.list_,
    running.plan,
    running.run,
    running.sweep,
    reading.report,
    running.reproduce,
    reading.results,
    reading.check,
    reading.export,
    auditing.verify,
    auditing.power,
    auditing.compare,
    making.new,
):
    app.command(command.__name__.rstrip("_"))(command)
data_app = typer.Typer(help="Bring datasets onto this machine and verify them.", no_args_is_help=True)
for command in (data.list_, data.get, data.check, data.import_):
    data_app.command(command.__name__.rstrip("_"))(command)
app.add_typer(data_app, name="data")


def main() -> None:
    """Entry point: a `UsageError` becomes one sentence on stderr and exit code 2."""
    for word in sys.argv[1:]:
        if any("\ud800" <= each <= "\udfff" for each in word):  # bytes of a file's name that are no text
            _fail(f"{word!r} is not written in UTF-8; rename what it names, or give another name")
    try:
        sys.exit(app(prog_name="craftbench", standalone_mode=False) or 0)
    except UsageError as error:
        _fail(str(error))
    except typer.Exit as leave:
        sys.exit(leave.exit_code)
    except typer.Abort:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        _fail(f"{str(error.filename)[:40]}... is too long for the name of a file; give a shorter one")
    except Exception as error:
        message = getattr(error, "format_message", None)  # click's usage errors
        if message is None:
            raise
        _fail(message())


def _fail(sentence: str) -> None:
    if sentence:  # none when the help is all that there is to say
        print(f"craftbench: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
