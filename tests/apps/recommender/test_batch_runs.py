"""Reports of batch runs: figures and drift by hand, lists of who changed among the others."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from apps.recommender.batch_runs import (
    KEPT,
    BatchReport,
    finish_run,
    last_lists,
    new_run,
    read_batches,
)
from apps.recommender.importing import import_events
from apps.recommender.list_figures import EarlierLists, ListCounts, drift, gini
from apps.recommender.live import open_live
from apps.recommender.settings import RuleSettings
from pipelines.merge_lists import merge_lists
from pipelines.recommend import Recommended, Wanted, recommend_to_file
from shared.settings import Home

NOW = datetime(2024, 6, 1, 2, tzinfo=UTC)
PAGE = Path(__file__).parents[3] / "apps" / "recommender" / "batches_page.py"


def lists(**of: str) -> pd.DataFrame:
    """Rows of `user="items"`, each item one letter."""
    rows = [
        (user, item, rank, 1.0 / rank, "because")
        for user, items in of.items()
        for rank, item in enumerate(items, start=1)
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "rank", "score", "reason"])
    return frame.astype({"rank": "int32"})


def test_figures_of_lists_by_hand() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0.6, 0.8]], np.float32)
    counts = ListCounts([*"abcd"], vectors, np.array([3, 1, 0, 0]), users=3)
    counts.add(lists(ann="ab", bob="acd"))
    counts.add(lists(eve="a"))
    figures = counts.figures()
    # Cosines: ann 1; bob 0, .6, .8 in the mean .4667; eve has no pair.
    assert figures.diversity == pytest.approx((0.0 + (1 - 1.4 / 3)) / 2)
    assert (figures.items, figures.coverage) == (4, 1.0)
    # Shown a 3, b, c, d 1 times; taken by 3, 1, 0, 0 of 3: 0, 1, 2 and 2 bits.
    assert figures.novelty == pytest.approx((0 * 3 + 1 + 2 + 2) / 6)
    assert figures.new == pytest.approx(2 / 6)
    assert figures.gini == pytest.approx(gini(np.array([3, 1, 1, 1])))


@pytest.mark.parametrize(
    ("counts", "value"), [([2, 2, 2], 0.0), ([0, 0, 0, 8], 0.75), ([1, 3], 0.25), ([], 0.0)]
)
def test_gini_by_hand(counts: list[int], value: float) -> None:
    assert gini(np.array(counts, np.int64)) == pytest.approx(value)


def test_drift_by_hand(tmp_path: Path) -> None:
    lists(ann="abc", bob="abc", eve="a", gone="d").to_parquet(tmp_path / "then.parquet")
    earlier = EarlierLists(tmp_path / "then.parquet")
    # ann as she was; bob keeps two of three and begins otherwise; eve has one more; new is new.
    kept = earlier.kept(lists(ann="bac", bob="bax", eve="ab", new="a"), k=3)
    assert kept.tolist() == [[1, 1, 0], [pytest.approx(2 / 3), 0, 0], [1, 0, 1]]
    found = drift(earlier, kept, ["a", "b", "c", "x"], "r", "shop@1")
    assert found is not None
    assert found.line == (
        "against r by shop@1: 88.9% of the places kept, 33.3% of 3 lists unchanged, 33.3% begin "
        "with the same item; 1 items came in, 1 went"
    )
    # Lists of different lengths are compared as far as both go.
    assert earlier.kept(lists(ann="ab"), k=2).tolist() == [[1, 1, 1]]
    assert drift(earlier, np.empty((0, 3)), ["a"], "r", "m") is None


@pytest.mark.parametrize("rows_at_once", [2, 5, 1000])
def test_lists_of_who_changed_stand_among_the_others(tmp_path: Path, rows_at_once: int) -> None:
    lists(a="xyz", b="xyz", c="xy", d="xyz", gone="x").to_parquet(tmp_path / "before.parquet")
    lists(b="pq", e="q", f="pqr").to_parquet(tmp_path / "changed.parquet")
    seen: list[pd.DataFrame] = []
    rows = merge_lists(
        tmp_path / "before.parquet", tmp_path / "changed.parquet", [*"abcdef"], {*"bdef"},
        tmp_path / "out.parquet", seen.append, rows_at_once,
    )  # fmt: skip
    found = pd.read_parquet(tmp_path / "out.parquet")
    expected = lists(a="xyz", b="pq", c="xy", e="q", f="pqr")
    pd.testing.assert_frame_equal(found, expected)
    pd.testing.assert_frame_equal(pd.concat(seen, ignore_index=True), expected)
    assert rows == len(expected)


@pytest.fixture
def run(published: Home) -> Callable[..., Recommended]:
    moment = [NOW]

    def recommend(output: Path, **more: object) -> Recommended:
        moment[0] += timedelta(minutes=1)
        return recommend_to_file(
            model="shop",
            wanted=Wanted(output, 3, **more),  # type: ignore[arg-type]
            home=published,
            threads=1,
            clock=lambda: moment[0],
            say=said.append,
        )

    said: list[str] = []
    recommend.said = said  # type: ignore[attr-defined]
    return recommend


def test_only_who_acted_is_listed_anew_and_the_whole_is_as_if_all_were(
    run: Callable[..., Recommended], published: Home, tmp_path: Path
) -> None:
    first = run(tmp_path / "one.parquet", changed=True)
    assert run.said[-1] == "no earlier run over all users: all are listed"  # type: ignore[attr-defined]
    assert (first.report.scope, first.report.made, first.report.drift) == ("all", 160, None)
    (tmp_path / "events.csv").write_text(
        "user_id,item_id,timestamp,event\ncustomer001,tea3,2024-05-01,buy\nfresh,tea1,2024-05-01,buy\n"
    )
    version = published.models / "shop" / "1"
    live = open_live(version, home=published, rules=RuleSettings(), clock=lambda: NOW)
    assert import_events(live, tmp_path / "events.csv", {}).added == 2
    second = run(tmp_path / "two.csv", changed=True)
    assert (second.report.scope, second.users, second.report.made) == ("changed", 161, 2)
    whole = run(tmp_path / "three.parquet")
    assert whole.report.scope == "all"
    columns = ["user_id", "item_id", "rank"]
    two, three = pd.read_csv(tmp_path / "two.csv"), pd.read_parquet(tmp_path / "three.parquet")
    redone = three["user_id"].isin(["customer001", "fresh"])
    before = pd.read_parquet(tmp_path / "one.parquet")
    kept = two[~redone.to_numpy()].reset_index(drop=True)
    others = before[before["user_id"] != "customer001"].reset_index(drop=True)
    assert kept[columns].to_numpy().tolist() == others[columns].to_numpy().tolist()
    assert (
        two[redone.to_numpy()][columns].to_numpy().tolist()
        == three[redone][columns].to_numpy().tolist()
    )
    assert second.report.drift is not None
    assert second.report.drift.users == 160
    # Nobody has acted since: the same lists again, by a run that computes none.
    fourth = run(tmp_path / "four.parquet", changed=True)
    assert (fourth.report.made, fourth.rows) == (0, len(three))
    assert fourth.report.drift is not None
    assert fourth.report.drift.kept == 1.0
    run(tmp_path / "five.parquet", changed=True, include_seen=True)
    assert run.said[-1].startswith("the model, the rules or the options are not")  # type: ignore[attr-defined]
    # The lists of the newest run over all users alone are kept.
    assert len(list((published.root / "batches" / "shop").glob("*/lists.parquet"))) == 1


def test_a_run_over_a_file_leaves_the_lists_of_all_as_they_are(
    run: Callable[..., Recommended], published: Home, tmp_path: Path
) -> None:
    whole = run(tmp_path / "all.parquet")
    (tmp_path / "users.csv").write_text("user_id\ncustomer002\nstranger\n")
    some = run(tmp_path / "some.csv", users=tmp_path / "users.csv")
    assert (some.report.scope, some.users, some.rows) == ("file", 2, 6)
    found = last_lists(published, "shop")
    assert found is not None
    assert found[0].run == whole.report.run
    assert [report.run for report in read_batches(published, "shop")] == [
        some.report.run, whole.report.run
    ]  # fmt: skip
    assert read_batches(published, "shop")[1] == whole.report


def test_a_killed_or_damaged_run_is_no_run_and_old_ones_go(
    run: Callable[..., Recommended], published: Home, tmp_path: Path
) -> None:
    report = run(tmp_path / "all.parquet").report
    root = published.root / "batches" / "shop"
    killed = root / "20240101T000000-aaaa"
    killed.mkdir()
    shutil.copyfile(tmp_path / "all.parquet", killed / "lists.parquet")
    damaged = root / "20240102T000000-bbbb"
    damaged.mkdir()
    (damaged / "report.json").write_text('{"run": 1}')
    assert [each.run for each in read_batches(published, "shop")] == [report.run]
    finish_run(new_run(published, "shop", NOW), report, None)
    assert not killed.exists()
    for number in range(KEPT):
        folder = root / f"2025{1 + number // 28:02d}{1 + number % 28:02d}T000000-0000"
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps({}))
    finish_run(new_run(published, "shop", NOW + timedelta(days=900)), report, None)
    assert len(list(root.iterdir())) == KEPT


def test_the_page_lists_runs_and_shows_one(
    run: Callable[..., Recommended],
    published: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(published.root))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert page.info[0].value.startswith("No batch has run yet.")
    run(tmp_path / "all.parquet")
    second: BatchReport = run(tmp_path / "all.parquet").report
    page = page.run()
    assert not page.exception
    assert page.dataframe[0].value["without a list"].tolist() == [0, 0]
    assert [metric.value for metric in page.metric][:2] == [
        "160", f"{second.figures.coverage:.1%}"
    ]  # fmt: skip
    assert page.markdown[0].value.startswith("Against ")
    assert "100.0% of the places kept" in page.markdown[0].value
