"""Commands that hold numbers against others: verify, power, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import UsageError
from .options import DEFAULT_JOBS, DEFAULT_MEMORY, Jobs, JsonOption, Memory, Paper, benchmark_of, store_of

if TYPE_CHECKING:
    from ..report.recorded import Recorded

ReferenceOption = Annotated[
    Path | None, typer.Option("--reference", help="folder of reference files; default: the runs of ours that ship with the package")
]
OneProfile = Annotated[str, typer.Option("--profile", help="the profile that the numbers belong to")]


def verify(
    paper: Annotated[list[str] | None, typer.Option("--paper", help="only this paper (repeat for more)")] = None,
    cells: Annotated[int, typer.Option("--cells", min=1, help="how many fits to run again")] = 20,
    minutes: Annotated[float, typer.Option("--minutes", min=0, help="stop after so long")] = 10.0,
    seed: Annotated[int | None, typer.Option("--seed", help="of the draw; without it nobody can foresee what is drawn")] = None,
    reference: ReferenceOption = None,
    jobs: Jobs = None,
    memory: Memory = DEFAULT_MEMORY,
    json: JsonOption = False,
) -> None:
    """Run randomly drawn fits of the reference again and compare their digits. Exit code 1 when one does not match."""
    import secrets
    import sys
    import tempfile
    import time

    from .. import listing
    from ..benchmarks.backends.local import LocalBackend
    from ..datasets.dataset import data_home
    from ..report.audit import audit
    from ..report.draw import draw

    stop_at, workers = time.monotonic() + 60 * minutes, jobs or DEFAULT_JOBS
    references = _references(reference, paper or [])
    seed = secrets.randbelow(10**6) if seed is None else seed
    drawn = draw(references, benchmark_of, data_home(), cells, 60 * minutes * workers, seed)
    if not json:
        listing.drawn(drawn, seed)
    if not drawn.drawn:
        why = "; ".join(f"{fits} fits: {reason}" for reason, fits in drawn.left_out.items())
        raise UsageError(f"no recorded fit can be run again here ({why})")
    with tempfile.TemporaryDirectory(prefix="craftbench-verify-") as folder:
        found = audit(
            drawn,
            references,
            benchmark_of,
            Path(folder),
            data_home(),
            lambda: LocalBackend(workers, memory),
            lambda: stop_at - time.monotonic(),
            lambda text: print(text, file=sys.stderr),
            lambda checked: None if json else listing.checked(checked),
        )
    listing.audit(found, seed, json)
    raise typer.Exit(1 if found.wrong else 0)


def power(
    paper: Paper,
    profile: OneProfile = "standard",
    store: Annotated[
        Path | None, typer.Option("--store", help="the pilot; default: the reference that ships with the package")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say for each contrast of a paper's claims how many seeds and core-hours its effect needs to be seen."""
    from .. import listing
    from ..report import numbers, recorded
    from ..report.power import needs_of, unmeasured

    benchmark = benchmark_of(paper)
    benchmark.profile(profile)
    if store is None:
        pilot = recorded.read(numbers.REFERENCE / f"{paper}.json")
        if pilot.profile != profile:
            raise UsageError(f"the reference of {paper} is of the profile {pilot.profile}; give --store for {profile}")
    else:
        pilot = _gathered(store, paper, profile)
    listing.power(needs_of(benchmark, pilot, numbers.published(benchmark)), unmeasured(benchmark, pilot), json)


def compare(
    a: Annotated[Path, typer.Argument(metavar="STORE_A", help="a store, a reference file, or a folder of reference files")],
    b: Annotated[Path, typer.Argument(metavar="STORE_B", help="the same")],
    paper: Annotated[str | None, typer.Argument(help="only this paper", show_default=False)] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="of both sides, or A:B for one each; needed where a side has several")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say which cells of two stores differ beyond noise. Exit code 1 when equal identity gave different digits."""
    from .. import listing
    from ..report.comparison import compared
    from ..report.draw import standing_alone

    one, _, two = (profile or "").partition(":")
    left, right = _side(a, paper, one), _side(b, paper, two or one)
    alone = {each.paper: standing_alone(benchmark_of(each.paper)) for each in (*left, *right)}
    found = compared(left, right, alone)
    listing.comparison(found, json)
    raise typer.Exit(1 if found.broken else 0)


def _references(folder: Path | None, papers: list[str]) -> list[Recorded]:
    """The reference files of these papers; of all without any name."""
    from ..report import numbers, recorded

    for paper in papers:
        benchmark_of(paper)
    folder = folder or numbers.REFERENCE
    found = [recorded.read(file) for file in sorted(folder.glob("*.json"))]
    chosen = [each for each in found if not papers or each.paper in papers]
    if not chosen:
        raise UsageError(f"{folder} has no reference of {', '.join(papers) or 'any paper'}; give another --reference or --paper")
    return chosen


def _gathered(root: Path, paper: str, profile: str) -> Recorded:
    from ..report.evidence import Evidence
    from ..report.gathering import gathered

    store = store_of(root)
    if not store.folder(f"plans/{paper}.{profile}.json").is_file():
        raise UsageError(f"{root} holds no run of {paper} in the profile {profile}; give the store that `craftbench run` wrote")
    return gathered(Evidence(benchmark_of(paper), store, profile))


def _side(path: Path, paper: str | None, profile: str) -> list[Recorded]:
    """What a store, a reference file or a folder of these holds: of all papers without a name, of the one profile without one."""
    from ..benchmarks.catalogue import PAPERS
    from ..report import recorded

    if (path / "plans").is_dir():
        named = [file.name.split(".")[:2] for file in sorted((path / "plans").glob("*.json"))]
        runs = [(name, run) for name, run in named if name in PAPERS and run in benchmark_of(name).profiles]
        wanted = [(name, run) for name, run in runs if paper in (None, name) and profile in ("", run)]
        found = [_gathered(path, name, run) for name, run in wanted]
    elif path.exists():
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        read = [recorded.read(file) for file in files]
        found = [each for each in read if paper in (None, each.paper) and profile in ("", each.profile)]
    else:
        raise UsageError(f"there is no {path}; give a store, a reference file, or a folder of reference files")
    several = {each.paper for each in found if sum(other.paper == each.paper for other in found) > 1}
    if several:
        profiles = ", ".join(each.profile for each in found if each.paper in several)
        raise UsageError(f"{path} holds {' and '.join(sorted(several))} in several profiles ({profiles}); name one with --profile")
    if not found:
        raise UsageError(f"{path} holds nothing of {paper or 'any paper'}{f' in the profile {profile}' if profile else ''}")
    return found
