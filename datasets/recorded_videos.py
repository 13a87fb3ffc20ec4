"""The short-video logs that the catalogue knows: official addresses, names of their files, and what may be done with them.

Names and checksums are those that the datasets' pages publish. Where no checksum is published, nothing is downloaded: the file must
be brought by hand.
"""

from __future__ import annotations

from typing import Any

from . import kuairand, kuairec, wechat
from .entries import Recorded
from .sources import Address

_SHARE_ALIKE = "Attribution and share alike: name the source, and pass on what you make of it under the same licence."
_GAO = (
    "C. Gao et al. KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos. CIKM 2022, "
    "doi 10.1145/3511808.3557624"
)
_ZENODO = "https://zenodo.org/records/10439422/files"
_EDITION: dict[str, Any] = {
    "licence": "CC BY-SA 4.0",
    "terms": _SHARE_ALIKE,
    "citation": _GAO,
    "page": "https://kuairand.com",
    "read": kuairand.read,
}


def _kuairand(edition: str, title: str, md5: str, rows: int, largest: int, *more: str) -> Recorded:
    """An edition of KuaiRand, whose files end with its name in small letters: `log_standard_4_08_to_4_21_1k.csv`; more: patterns of
    further files that are read."""
    end = edition.lower()
    logs = (f"log_standard_*_{end}*.csv", f"log_standard_*_{end}*.csv.gz")
    beside = (*logs, f"user_features_{end}.csv", f"video_features_basic_{end}.csv", *more)
    source = Address(f"{_ZENODO}/KuaiRand-{edition}.tar.gz", md5, f"log_standard_4_08_to_4_21_{end}*.csv", beside, largest)
    return Recorded(name=f"kuairand-{end}", title=title, raw=logs, beside=beside, sources=(source,), rows=rows, **_EDITION)


ENTRIES = (
    _kuairand("Pure", "KuaiRand-Pure", "0820331067a3784d9691136f772b35a7", 1_436_609, 1 << 30, "log_random_*_pure.csv"),
    Recorded(
        name="kuairand-pure-slice",
        title="KuaiRand-Pure, fourteen days",
        raw=("log_standard_*_pure.csv", "log_standard_*_pure.csv.gz"),
        beside=("user_features_pure.csv", "video_features_basic_pure.csv"),
        rows=228_329,
        sha256="79e6c0bf279170dfa5c52d8e4d9446f9558d6f02a98a2612cdb2931819aa73f0",
        scope="slice",
        **_EDITION,
    ),
    _kuairand("1K", "KuaiRand-1K", "6b0b9c8222d67fcd4c676218edca3f1f", 11_713_045, 8 << 30),
    _kuairand("27K", "KuaiRand-27K", "3e3c799a24e2d23a4d2c757fbf9adf59", 322_278_385, 64 << 30),
    Recorded(
        name="kuairec",
        title="KuaiRec, big matrix",
        licence="CC BY-SA 4.0",
        terms=_SHARE_ALIKE,
        citation="C. Gao et al. KuaiRec: A Fully-observed Dataset and Insights for Evaluating Recommender Systems. CIKM 2022, "
        "doi 10.1145/3511808.3557220",
        page="https://kuairec.com",
        raw=("big_matrix.csv",),
        beside=("user_features.csv", "item_categories.csv"),
        read=kuairec.read,
        rows=12_530_806,
    ),
    Recorded(
        name="wechat-2021",
        title="WeChat Big Data Challenge 2021",
        licence="competition terms",
        terms="The terms of the competition; get the data from its organiser.",
        citation="WeChat Big Data Challenge 2021, https://algo.weixin.qq.com",
        page="https://algo.weixin.qq.com",
        raw=("user_action.csv",),
        beside=("feed_info.csv",),
        read=wechat.read,
    ),
)
