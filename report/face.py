"""The first screen: every claim of a paper on every scope, as this run judges it and as the run of ours that ships did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .shapes import Findings, VerdictFound

SCOPES = ("paper's data", "real stand-in", "simulated", "tiny model")  # what speaks for the paper comes first
GLYPHS = {"supported": "✓", "contradicted": "✗", "too small to matter": "≈", "inconclusive": "?", "not run": "–"}


@dataclass(frozen=True)
class Square:
    """A claim on one scope. here: this run's verdict; ours: {word, reason} of the run that ships; None where it was not judged."""

    scope: str
    here: VerdictFound | None
    ours: dict[str, Any] | None

    @property
    def asked(self) -> bool:
        return self.here is not None or self.ours is not None


@dataclass(frozen=True)
class ClaimJudged:
    """A claim with a square for each scope of its paper."""

    id: str
    sentence: str
    short: str
    source: str
    squares: tuple[Square, ...]


def scopes_of(found: Findings) -> tuple[str, ...]:
    """The scopes on which any claim of a paper is judged, here or by the run of ours."""
    named = {verdict.scope for verdict in found.verdicts}
    named |= {verdict["scope"] for verdict in found.shipped.verdicts} if found.shipped else set()
    return tuple(sorted(named, key=lambda scope: (SCOPES.index(scope) if scope in SCOPES else len(SCOPES), scope)))


def claims_of(found: Findings) -> tuple[ClaimJudged, ...]:
    """The claims of a paper in its order."""
    here = {(verdict.claim, verdict.scope): verdict for verdict in found.verdicts}
    shipped = found.shipped.verdicts if found.shipped else ()
    ours = {(verdict["claim"], verdict["scope"]): verdict for verdict in shipped}
    first = {verdict.claim: verdict for verdict in reversed(found.verdicts)}
    return tuple(
        ClaimJudged(
            id=claim,
            sentence=first[claim].sentence,
            short=first[claim].short or first[claim].sentence,
            source=first[claim].source,
            squares=tuple(Square(scope, here.get((claim, scope)), ours.get((claim, scope))) for scope in scopes_of(found)),
        )
        for claim in dict.fromkeys(verdict.claim for verdict in found.verdicts)
    )
