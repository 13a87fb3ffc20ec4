"""KuaiRand in its official format: what is read, what is dropped and said, and how several files become one log."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from craftbench.core.errors import UsageError
from craftbench.datasets import kuairand
from craftbench.datasets.catalogue import import_path
from craftbench.datasets.multitask import prepare

SHARED = Path(os.environ.get("CRAFTBENCH_SHARED", Path(__file__).parents[2].parent / "shared"))
HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)
ROWS = (
    "712,5239,20220425,0,1650812741436,1,0,0,0,0,0,1,61802,49866,0,0,0,0,1",
    "13414,6831,20220425,0,1650812934945,1,1,0,1,0,0,0,1184,11933,0,250,0,0,1",
    "19674,3359,20220426,2300,1650899000001,0,0,1,0,1,1,0,0,9500,77,0,1,0,4",
)
USERS = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,follow_user_num_range,"
    "fans_user_num,fans_user_num_range,friend_user_num,friend_user_num_range,register_days,register_days_range,"
    + ",".join(f"onehot_feat{number}" for number in range(18))
    + '\n712,full_active,0,1,1,514,500+,150,"[100,1k)",34,"[30,60)",799,730+,'
    + "1,1,29,949,1.0,0,0,14,135,6,3,0,0.0,1.0,0.0,0.0,0.0,0.0\n"
    + '13414,UNKNOWN,0,-124,0,8,"(0,10]",26,"[10,100)",3,"[1,5)",231,181-365,0,2,2,11,,0,0,31,275,5,2,2,,,,,,\n'
)
VIDEOS = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
    "music_id,music_type,tag\n"
    '5239,7349781,NORMAL,2022-04-10,LongImport,0.0,49866.0,720.0,1280.0,9155697141,9.0,"39,12"\n'
    "6831,2103883,AD,2022-04-10,Kmovie,0.0,,720.0,1280.0,,,\n"
)


def _log(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "\n".join((HEADER, *rows)) + "\n"
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return path


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_three_rows(tmp_path: Path, name: str) -> None:
    parsed = kuairand.read(_log(tmp_path / name, *ROWS))
    table = parsed.tables["impressions"]
    assert table["user_id"].tolist() == [712, 13414, 19674]
    assert table["item_id"].tolist() == [5239, 6831, 3359]
    assert table["time"].tolist() == [1650812741436, 1650812934945, 1650899000001]
    assert table["date"].tolist() == [20220425, 20220425, 20220426]
    assert table["watch_time"].tolist() == pytest.approx([61.802, 1.184, 0])
    assert table["duration"].tolist() == pytest.approx([49.866, 11.933, 9.5])
    signals = ("click", "long_view", "like", "follow", "comment", "forward", "profile_enter", "hate", "tab")
    assert table[list(signals)].to_numpy().tolist() == [
        [1, 1, 0, 0, 0, 0, 0, 0, 1],
        [1, 0, 1, 0, 1, 0, 0, 0, 1],
        [0, 0, 0, 1, 0, 1, 1, 1, 4],
    ]
    assert [str(kind) for kind in table.dtypes] == ["int64"] * 3 + ["int32"] + ["float32"] * 2 + ["int8"] * 9
    assert parsed.notes == ("no user features came with the log", "no video features came with the log")
    assert parsed.lines == 3


def test_duplicates_and_unknown_durations_are_dropped_and_counted(tmp_path: Path) -> None:
    unknown = ROWS[1].replace(",11933,", ",0,")
    other_stay = ROWS[1].replace(",250,", ",251,")  # differs in a column that is not kept: no duplicate
    parsed = kuairand.read(_log(tmp_path / "log.csv", ROWS[0], unknown, ROWS[0], other_stay, unknown, ROWS[0], ROWS[1]))
    assert parsed.notes[:2] == ("dropped 3 exact duplicates of another row", "dropped 1 rows of unknown duration (duration_ms 0)")
    assert parsed.tables["impressions"]["user_id"].tolist() == [712, 13414, 13414]
    assert parsed.lines == 7


def test_features(tmp_path: Path) -> None:
    (tmp_path / "user_features_pure.csv").write_text(USERS)
    (tmp_path / "video_features_basic_pure.csv").write_text(VIDEOS)
    beside = [tmp_path / name for name in ("user_features_pure.csv", "video_features_basic_pure.csv")]
    parsed = kuairand.read(_log(tmp_path / "log.csv", *ROWS), *beside)
    users, items = parsed.tables["users"], parsed.tables["items"]
    assert users["fans_user_num_range"].tolist() == ["[100,1k)", "[10,100)"]
    assert users["is_live_streamer"].tolist() == [1, -124]
    assert users["onehot_feat4"].tolist() == [1, -1]
    assert items["tag"].tolist() == [39, -1]
    assert items["music_type"].tolist() == [9, -1]
    assert items["video_type"].tolist() == ["NORMAL", "AD"]
    assert not any("statistic" in name or name.endswith("_cnt") for name in items.columns)
    assert parsed.notes == ()


def test_features_with_a_repeated_user(tmp_path: Path) -> None:
    (tmp_path / "user_features_pure.csv").write_text(USERS + USERS.splitlines()[1] + "\n")
    with pytest.raises(UsageError, match=r"user_features_pure.csv: user_id 712 stands on two lines"):
        kuairand.read(_log(tmp_path / "log.csv", *ROWS), tmp_path / "user_features_pure.csv")


def test_several_logs_become_one_and_duplicates_are_told_across_them(tmp_path: Path) -> None:
    parts = [
        _log(tmp_path / "log_standard_4_08_to_4_21_27k_part1.csv", ROWS[0], ROWS[1]),
        _log(tmp_path / "log_standard_4_08_to_4_21_27k_part2.csv", ROWS[2], ROWS[0]),
        _log(tmp_path / "log_standard_4_22_to_5_08_27k_part1.csv", ROWS[1].replace("1184", "1185")),
    ]
    parsed = kuairand.read(*parts)
    assert parsed.tables["impressions"]["user_id"].tolist() == [712, 13414, 19674, 13414]
    assert parsed.lines == 5


def test_the_log_exposed_at_random_is_a_table_of_its_own(tmp_path: Path) -> None:
    unknown = ROWS[1].replace(",11933,", ",0,")
    free = _log(tmp_path / "log_random_4_22_to_5_08_pure.csv", ROWS[2], ROWS[0], ROWS[2], unknown)
    parsed = kuairand.read(_log(tmp_path / "log_standard_4_08_to_4_21_pure.csv", *ROWS), free)
    log, free_rows = parsed.tables["impressions"], parsed.tables["random"]
    assert free_rows.equals(log.iloc[[2, 0]].reset_index(drop=True))
    assert (len(log), parsed.lines) == (3, 3)
    assert parsed.notes[:2] == (
        "random log: dropped 1 exact duplicates of another row",
        "random log: dropped 1 rows of unknown duration (duration_ms 0)",
    )


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (ROWS[1].replace(",1184,", ",-1184,"), r"line 3, column 13 \(play_time_ms\): '-1184' is not a whole number, 0 or more"),
        (ROWS[1].replace(",1184,", ",fast,"), r"line 3, column 13 \(play_time_ms\): 'fast' is not a whole number"),
        (ROWS[1].replace(",1184,", ",,"), r"line 3, column 13 \(play_time_ms\): nothing is not a whole number"),
        (ROWS[1].replace(",1184,", ",1184.5,"), r"line 3, column 13 \(play_time_ms\): '1184.5' is not a whole number"),
        (ROWS[1].replace("945,1,1,", "945,1,2,"), r"line 3, column 7 \(is_like\): '2' is not 0 or 1"),
        (ROWS[1][:-2], r"line 3: 18 columns instead of 19"),
        (ROWS[1] + ",7", r"line 3: 20 columns instead of 19"),
        (ROWS[1][:-1] + "300", r"line 3, column 19 \(tab\): '300' is not a scene from 0 to 127"),
        ("9" * 30 + ROWS[1][5:], r"line 3, column 1 \(user_id\): '9+' is not a whole number"),
    ],
)
def test_what_is_wrong_and_where(tmp_path: Path, bad: str, sentence: str) -> None:
    path = _log(tmp_path / "log.csv", ROWS[0], bad, ROWS[2])
    with pytest.raises(UsageError, match=rf"log\.csv, {sentence}"):
        kuairand.read(path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = _log(tmp_path / "log.csv", *ROWS)
    path.write_text(path.read_text().replace("play_time_ms,", ""))
    with pytest.raises(UsageError, match=r"log\.csv, line 1: column 'play_time_ms' is missing"):
        kuairand.read(path)


def test_seconds_given_as_milliseconds_are_told_by_the_median_and_said(tmp_path: Path) -> None:
    rows = [f"{row},1,20220425,0,{1650812741 + row},0,0,0,0,0,0,0,{row % 40},{30 + row % 60},0,0,0,0,1" for row in range(1, 90)]
    parsed = kuairand.read(_log(tmp_path / "log.csv", *rows))
    table = parsed.tables["impressions"]
    assert table["duration"].tolist() == [30 + row % 60 for row in range(1, 90)]
    assert table["watch_time"].tolist() == [row % 40 for row in range(1, 90)]
    assert table["time"].min() == 1650812742000
    said = " | ".join(parsed.notes)
    for part in (
        "the median duration would be 0.052 s, so the file gives seconds",
        "the median watch_time would be",
        "times are seconds",
    ):
        assert part in said


def test_the_official_folder(tmp_path: Path) -> None:
    """The archive's layout; the rows are too few, which is what the count of the whole dataset is for."""
    data = tmp_path / "KuaiRand-Pure" / "data"
    _log(data / "log_random_4_22_to_5_08_pure.csv", *ROWS, *ROWS)
    _log(data / "log_standard_4_22_to_5_08_pure.csv", ROWS[2])
    _log(data / "log_standard_4_08_to_4_21_pure.csv", ROWS[0], ROWS[1])
    with pytest.raises(UsageError, match=r"log_standard_4_08_to_4_21_pure.csv, log_standard_4_22_.* holds 3 impressions"):
        import_path("kuairand-pure", tmp_path, tmp_path / "home", lambda _: None)


@pytest.mark.parametrize("whole", [True, False])
def test_the_real_slice(tmp_path: Path, whole: bool) -> None:
    folder = SHARED / "data" / "kuairand_pure_slice"
    if not folder.is_dir():
        pytest.skip("kuairand_pure_slice is not beside the repository")
    said: list[str] = []
    given = folder if whole else folder / "log_standard_4_25_to_5_08_pure.csv.gz"
    dataset = import_path("kuairand-pure", given, tmp_path, said.append)
    assert dataset.name == "kuairand-pure-slice"
    assert "imported as kuairand-pure-slice" in said[0]
    assert dataset.rows == 228_329 - 5_460 - 3_568
    assert dataset.provenance.notes[0] == "dropped 5460 exact duplicates of another row"
    assert list(dataset.tables) == (["impressions", "users", "items"] if whole else ["impressions"])
    tables = prepare(dataset)
    parts = tables.facts["parts"]
    assert (len(tables.train), len(tables.valid), parts["test"]["rows"]) == (114_273, 23_749, 32_317)
    assert tables.tasks == ("ev", "lv", "cv", "like", "profile_enter", "comment")
    assert (parts["test"]["positives"]["like"], parts["test"]["positives"]["comment"]) == (574, 95)
    assert int(tables.meta.sum()) == parts["meta"]["rows"] == 114_273 - 68_763
    test = dataset.impressions.iloc[tables.shown["test"].row]
    assert (int(test["follow"].sum()), int(test["forward"].sum())) == (44, 45)
    assert (test["user_id"].to_numpy() == tables.shown["test"].user).all()
