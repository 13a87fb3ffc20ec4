"""KuaiRec's big matrix in its official format."""

from __future__ import annotations

from pathlib import Path

import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets import kuairec
from craftbench.datasets.dataset import Provenance, assemble
from craftbench.datasets.multitask import prepare
from craftbench.datasets.multitask_rule import MultiTaskRule

MATRIX = (
    "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
    "0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.2733965\n"
    "0,9598,13665,10984,2020-07-05 00:13:41.297,20200705,1593879221.297,1.2440823\n"
    "0,5262,851,7908,2020-07-05 00:16:06.687,20200705,1593879366.687,0.1076125\n"
    "0,5262,851,7908,2020-07-05 00:16:06.687,20200705,1593879366.687,0.1076125\n"
    "1,5262,900,7908,,,,0.11\n"
)


def test_three_rows(tmp_path: Path) -> None:
    (tmp_path / "big_matrix.csv").write_text(MATRIX)
    (tmp_path / "item_categories.csv").write_text('video_id,feat\n3649,"[27, 9]"\n9598,[8]\n5262,[]\n')
    parsed = kuairec.read(tmp_path / "big_matrix.csv", tmp_path / "item_categories.csv")
    table = parsed.tables["impressions"]
    assert table["time"].tolist() == [1593878903438, 1593879221297, 1593879366687]
    assert table["date"].tolist() == [20200705] * 3
    assert table["watch_time"].tolist() == pytest.approx([13.838, 13.665, 0.851])
    assert table["duration"].tolist() == pytest.approx([10.867, 10.984, 7.908])
    assert table.columns.tolist() == ["user_id", "item_id", "time", "date", "watch_time", "duration"]
    assert parsed.tables["items"]["tag"].tolist() == [27, 8, -1]
    assert parsed.notes == ("dropped 1 exact duplicates of another row", "dropped 1 rows without a time")
    assert parsed.lines == 5


def test_a_negative_play_time(tmp_path: Path) -> None:
    (tmp_path / "big_matrix.csv").write_text(MATRIX.replace(",13665,", ",-1,"))
    with pytest.raises(
        UsageError, match=r"big_matrix.csv, line 3, column 3 \(play_duration\): '-1' is not a whole number, 0 or more"
    ):
        kuairec.read(tmp_path / "big_matrix.csv")


def test_only_tasks_of_watching_and_days_in_sevenths(tmp_path: Path) -> None:
    rows = [
        f"{row % 5},{row % 3},{row % 9 * 2000},8000,x,202007{1 + row % 14:02d},{1593561600 + row % 14 * 86400}.5,0"
        for row in range(280)
    ]
    (tmp_path / "big_matrix.csv").write_text(MATRIX.splitlines()[0] + "\n" + "\n".join(rows) + "\n")
    parsed = kuairec.read(tmp_path / "big_matrix.csv")
    provenance = Provenance("KuaiRec", "made here", "", "", "", "whole", {}, {})
    tables = prepare(assemble("kuairec", parsed.tables, provenance))
    assert tables.tasks == ("ev", "lv", "cv")
    assert "train before 20200709, meta from 20200709, valid from 20200711, test from 20200713" in tables.facts["rule"]
    with pytest.raises(UsageError, match="cannot tell task 'like'; choose from ev, lv, cv"):
        prepare(assemble("other", parsed.tables, provenance), MultiTaskRule())
