"""The recorded sequences with titles that the catalogue knows: where they come from, and what may be done with them."""

from __future__ import annotations

from typing import Any

from . import amazon_2018, amazon_sequences
from .entries import Recorded

_AMAZON: dict[str, Any] = {
    "licence": "research, with citation; no formal licence",
    "terms": "For research, with the citation below.",
    "citation": "J. Ni, J. Li, J. McAuley. Justifying Recommendations using Distantly-Labeled Reviews and Fine-Grained Aspects. "
    "EMNLP 2019",
}


def _category(name: str, title: str, file: str) -> Recorded:
    """A category of the release of 2018, whose files end with its name: `Video_Games.json.gz` and `meta_Video_Games.json.gz`."""
    return Recorded(
        name=name,
        title=f"Amazon {title} of 2018, reviews and titles",
        page="https://nijianmo.github.io/amazon/index.html",
        raw=(f"{file}.json.gz", f"{file}.json"),
        beside=(f"meta_{file}.json.gz", f"meta_{file}.json"),
        read=amazon_2018.read,
        **_AMAZON,
    )


ENTRIES = (
    Recorded(
        name="amazon-games",
        title="Amazon Video Games, sequences with titles",
        page="https://github.com/RUCAIBox/LLMRank (llmrank/dataset/Games-6k: Games-6k.test.inter, Games-6k.item)",
        raw=("games_sequences.inter", "Games-6k.test.inter"),
        beside=("games_items.item", "Games-6k.item"),
        read=amazon_sequences.read_games,
        rows=440_264,
        sha256="b241e4c8a52d2d41530fd073296e8bced4b61753e86ed6c51467c657704bab19",
        **_AMAZON,
    ),
    Recorded(
        name="amazon-office",
        title="Amazon Office Products, the last fifth of the rows",
        page="https://github.com/AkaliKong/MiniOneRec (data/Amazon, Office_Products_5_2016-10-2018-11: valid and test gzipped as "
        "office_valid.csv.gz and office_test.csv.gz, info as office_items.txt)",
        raw=("office_valid.csv.gz",),
        beside=("office_test.csv.gz", "office_items.txt"),
        read=amazon_sequences.read_office,
        sha256="a7d8f049ae425f413def22687cebcd172c65833633ff76dd3d90a83bca98234f",
        scope="slice",
        **_AMAZON,
    ),
    _category("amazon-2018-cds", "CDs and Vinyl", "CDs_and_Vinyl"),
    _category("amazon-2018-games", "Video Games", "Video_Games"),
    _category("amazon-2018-toys", "Toys and Games", "Toys_and_Games"),
    _category("amazon-2018-sports", "Sports and Outdoors", "Sports_and_Outdoors"),
    _category("amazon-2018-books", "Books", "Books"),
)
