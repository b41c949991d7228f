"""The data doctor of a shop: each thing that is wrong is found where it was put, and only there."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from apps.recommender.behaviour_doctor import robots
from apps.recommender.catalog_doctor import outlying_prices
from apps.recommender.leakage_doctor import Ties, seen_after, tie_order
from pipelines.cli import app
from pipelines.shop_doctor import examine_shop
from shared.data_findings import DataReport, Finding, first_of, shown

NOW = datetime(2024, 6, 1, tzinfo=UTC)
ITEMS = (
    ("a", "green tea leaves"),
    ("b", "red shoe lace"),
    ("c", "bank card money"),
    ("d", "a fine cup"),
)
Rows = Sequence[tuple[object, ...]]
Examine = Callable[..., list[tuple[str, str, str]]]


@pytest.fixture
def examine(tmp_path: Path) -> Examine:
    """severity, what, where of what is found in a catalogue and a log."""

    def run(
        items: Rows = ITEMS,
        events: Rows = (),
        held_out: Rows = (),
        columns: tuple[str, ...] = ("event",),
        item_columns: tuple[str, ...] = (),
    ) -> list[tuple[str, str, str]]:
        names = ["user_id", "item_id", "timestamp", *columns]
        paths: list[Path | None] = []
        for name, rows, header in (
            ("items.csv", items, ["item_id", "title", *item_columns]),
            ("events.csv", events, names),
            ("later.csv", held_out, names),
        ):
            pd.DataFrame(rows, columns=header).to_csv(tmp_path / name, index=False)
            paths.append(tmp_path / name if rows else None)
        assert paths[0] is not None
        report = examine_shop(paths[0], paths[1], {}, held_out=paths[2], now=NOW)
        return [(each.severity, each.what, each.where) for each in report.findings]

    return run


def day(number: int, **more: int) -> str:
    return (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number, **more)).isoformat()


def clean(users: int = 6) -> list[tuple[object, ...]]:
    """Everybody takes all items, one a day."""
    return [
        (f"u{user}", item, day(place, minutes=user), "buy")
        for user in range(users)
        for place, (item, _) in enumerate(ITEMS)
    ]


def test_a_clean_shop_is_told_only_what_leave_last_out_would_see(examine: Examine) -> None:
    assert examine(events=clean(users=1)) == []
    (note,) = examine(events=[*clean(1), ("v", "a", day(0), "buy"), ("v", "b", day(1), "buy")])
    # Targets: u0's last at day 3 with nothing after it, v's at day 1 with two of six.
    assert note[1] == (
        "leave-last-out would let a model see 17% of the log after the moment that it is judged "
        "at, in the mean"
    )


def test_items_told_twice_or_not_at_all(examine: Examine) -> None:
    long = "x" * 201
    found = examine(
        [*ITEMS, ("a", "other"), ("e", "Green  TEA leaves"), ("f", ""), ("g", "cup 2"),
         ("h", "cup 3"), (long, "one more fine thing")]
    )  # fmt: skip
    assert [each[:2] for each in found] == [
        ("warning", "1 rows repeat an item id, 1 of them with other contents"),
        ("error", "1 item ids are no line of 1 to 200 characters"),
        ("warning", "2 items have the text of another one (1 texts)"),
        ("note", "2 items differ from another one in numbers alone"),
        ("warning", "1 items (11.1%) have no text"),
        ("note", "2 items have a text of 2 words or fewer"),
    ]
    assert found[0][2] == "items.csv, line 6: a"
    assert found[2][2] == "items.csv, lines 2, 7: a, e"


def test_prices_dates_and_spellings(examine: Examine) -> None:
    items: list[tuple[object, ...]] = [
        (f"i{n}", f"one fine thing {chr(97 + n)}", 10 + n % 3, "Tea", "", "") for n in range(9)
    ]
    items += [("dear", "one fine thing x", 1000, "tea", "", "2024-05-01"),
              ("free", "one fine thing y", 0, "Tea", "2025-01-01", ""),
              ("none", "one fine thing z", "", "", "", "")]  # fmt: skip
    found = examine(items, item_columns=("price", "categories", "created_at", "available_to"))
    assert found == [
        ("warning", "1 items have a price of 0 or less", "items.csv, line 12: free"),
        ("warning", "1 prices are far from those of their category",
         "items.csv: dear at 1000 (median of all 11)"),
        ("note", "1 of 12 items have no price", "items.csv, line 13: none"),
        ("warning", "1 categories are written in several ways", "items.csv: Tea / tea"),
        ("note", "1 of 12 items are in no category", "items.csv, line 13: none"),
        ("warning", "1 items are created in the future", "items.csv, line 12: free"),
        ("warning", "1 items are no longer sold (available_to)", "items.csv, line 11: dear"),
    ]  # fmt: skip


def test_a_price_is_judged_in_its_category_where_that_is_large() -> None:
    prices = np.array([10.0, 11.0] * 10 + [1000.0, 1100.0] * 10 + [1000.0])
    categories = [("cup",)] * 20 + [("watch",)] * 20 + [("cup",)]
    assert np.flatnonzero(outlying_prices(prices, categories)).tolist() == [40]
    # A kind of one price: four times that is dear, five times is told.
    one = np.array([10.0] * 20 + [40.0, 51.0])
    assert np.flatnonzero(outlying_prices(one, [()] * 22)).tolist() == [21]


def test_dead_items(examine: Examine) -> None:
    events = [("u", "a", day(0), "buy"), ("u", "b", day(90), "buy"), ("u", "c", day(100), "buy")]
    found = examine(events=events)
    assert ("note", "1 of 4 items were never taken", "items.csv, line 5: d") in found
    assert (
        "note", "1 items were taken once, but not since 2024-03-16", "items.csv, line 2: a"
    ) in found  # fmt: skip


def test_users_items_types_and_repeats(examine: Examine) -> None:
    found = examine(
        events=[*clean(), ("", "a", day(5), "buy"), ("u1", "zz", day(5), "buy"),
                ("u1", "a", day(6), "wave"), ("u1", "a", day(6), "wave")]
    )  # fmt: skip
    assert found[:4] == [
        ("warning", "1 events (3.6%) have no user", "events.csv, line 26"),
        ("warning", "1 events (3.6%) are on 1 items that the catalogue lacks",
         "events.csv, line 27: zz"),
        ("warning", "2 events (7.1%) are of a type without a weight",
         "events.csv, lines 28, 29: wave"),
        ("warning", "1 events (3.6%) repeat another one to the microsecond",
         "events.csv, line 29"),
    ]  # fmt: skip


def test_most_events_on_unknown_items_are_an_error(examine: Examine) -> None:
    found = examine(events=[("u", "x", day(n), "buy") for n in range(9)] + clean(1))
    told = ("error", "9 events (69.2%) are on 1 items that the catalogue lacks")
    assert [each[:2] for each in found].count(told) == 1


def test_refunds_undo_and_those_of_nothing_are_told(examine: Examine) -> None:
    found = examine(
        events=[*clean(1), ("u0", "a", day(9), "refund"), ("u0", "b", day(0), "refund"),
                ("v", "a", day(1), "cancel")]
    )  # fmt: skip
    assert found[0] == (
        "note", "3 events take back (cancel, refund): 2 pairs of user and item are undone",
        "events.csv, lines 6, 7, 8",
    )  # fmt: skip
    assert found[1] == (
        "warning", "2 of them have nothing before them to take back", "events.csv, lines 7, 8"
    )  # fmt: skip


def test_what_users_hide_is_told_apart_from_what_they_bring_back(examine: Examine) -> None:
    found = examine(
        events=[*clean(1), ("u0", "a", day(9), "refund"), ("u0", "b", day(9), "hide"),
                ("u0", "b", day(10), "hide"), ("v", "a", day(1), "hide")]
    )  # fmt: skip
    assert found[:2] == [
        ("note", "3 events hide an item (hide), of 2 pairs of user and item",
         "events.csv, lines 7, 8, 9"),
        ("note", "1 events take back (refund): 1 pairs of user and item are undone",
         "events.csv, line 6"),
    ]  # fmt: skip


def test_clocks_that_are_wrong(examine: Examine) -> None:
    events = [*clean(), ("u1", "a", "2031-01-01", "view"), ("u2", "a", "1970-01-01", "view"),
              ("u3", "b", day(0, hours=3), "view")]  # fmt: skip
    found = [each for each in examine(events=events) if each[0] != "note" or "stand" in each[1]]
    assert found[:3] == [
        ("error", "1 events (3.7%) are of the future", "events.csv, line 26: 2031-01-01"),
        ("warning", "1 events (3.7%) are of the first days of 1970: a time of 0",
         "events.csv, line 27"),
        ("note", "2 events (7.4%) stand after later ones of the same user",
         "events.csv, lines 27, 28"),
    ]  # fmt: skip


def test_row_numbers_are_told_to_be_no_clock(examine: Examine) -> None:
    found = examine(events=[("u", item, place, "buy") for place, (item, _) in enumerate(ITEMS)])
    assert found[0] == (
        "warning", "the log has no clock: its times are places in a row", "events.csv"
    )  # fmt: skip


def test_machines_are_told_from_eager_people() -> None:
    rng = np.random.default_rng(0)
    hour, second = 3_600_000_000, 1_000_000
    rows: list[tuple[str, int]] = []
    for person in range(40):  # people: up to 30 in an hour, at uneven distances
        for visit in range(4):
            starts = rng.integers(0, hour, 30)
            rows += [(f"person{person}", visit * 24 * hour + int(at)) for at in starts]
    rows += [("steady", n * 5 * second) for n in range(50)]
    rows += [("almost", n * 5 * second) for n in range(49)]
    rows += [("flood", int(at)) for at in rng.integers(0, hour, 600)]
    user, moments = zip(*rows, strict=True)
    found = robots(pd.Series(user), np.array(moments, np.int64))
    assert found == {"flood": 600, "steady": 50}


def test_ratings_of_a_film_site_are_no_robots() -> None:
    """MovieLens: everybody rates a hundred films in their first hour."""
    rng = np.random.default_rng(1)
    user = np.repeat([f"u{n}" for n in range(50)], 150)
    time = rng.integers(0, 3_600_000_000, len(user))
    assert robots(pd.Series(user), time) == {}


def test_ties_in_the_order_of_ids_are_found_and_drawn_ones_are_not(examine: Examine) -> None:
    frame = pd.DataFrame({"user": ["u"] * 3, "item": ["9", "10", "11"], "time": [5, 5, 5]})
    assert tie_order(frame) == Ties(2, 2)
    assert Ties(20, 20).p == pytest.approx(2 * 0.5**20)
    ordered = [(f"u{u}", item, day(u), "buy") for u in range(10) for item in "abcd"]
    assert ("warning", "ties in time are in the order of ids: 30 of 30 neighbours are ascending",
            "events.csv") in examine(events=ordered)  # fmt: skip
    rng = np.random.default_rng(0)
    drawn = [
        (f"u{u}", item, day(u), "buy") for u in range(10) for item in rng.permutation([*"abcd"])
    ]
    told = [what for _, what, _ in examine(events=drawn)]
    assert not any(what.startswith("ties in time") for what in told)
    assert "the last item of 10 of 10 users is tied with another one" in told


def test_who_ends_where_he_has_been_is_told_and_who_looks_and_buys_is_not(
    examine: Examine,
) -> None:
    funnel = [("u", "a", day(0), "view"), ("u", "b", day(1), "view"), ("u", "b", day(2), "buy")]
    assert not any("had before" in what for _, what, _ in examine(events=funnel))
    back = [*funnel, ("u", "a", day(3), "buy")]
    assert ("warning", "1 of 1 users end on an item that they had before", "events.csv") in examine(
        events=back
    )


def test_what_lies_after_a_target_by_hand() -> None:
    assert seen_after(np.array([1, 2, 3, 4]), np.array([2, 4])) == pytest.approx(0.25)


def test_events_to_judge_by_that_the_log_knows(examine: Examine) -> None:
    later = [("u0", "a", day(20), "buy"), ("new", "b", day(20), "buy"), ("new", "c", day(1), "buy")]
    found = examine(events=clean(), held_out=later)[-2:]
    assert found == [
        ("error", "1 of 3 events to judge by are pairs of the log", "later.csv, line 2"),
        ("warning", "1 of 3 events to judge by are not later than the log", "later.csv, line 4"),
    ]


def test_what_a_file_holds_cannot_write_to_the_terminal_or_the_page(tmp_path: Path) -> None:
    assert shown("a\x1b[31mb\u202ec") == "a�[31mb�c"
    assert shown("x" * 100) == "x" * 59 + "…"
    assert first_of([1, 2, 3], most=2) == "1, 2 and 1 more"
    report = DataReport(
        "t", (), (Finding("note", "<script>", "&"), Finding("error", "bad", "", "mend"))
    )
    assert report.lines == ("! bad", "    mend", "+ <script>", "    &", "1 error, 1 note")
    page = report.write(tmp_path / "out").read_text()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert json.loads((tmp_path / "out" / "data_doctor.json").read_text())["errors"] == 1


def test_the_command_tells_finds_the_crawlers_of_the_sample_and_fails_only_on_errors(
    tmp_path: Path,
) -> None:
    sample = Path(__file__).parents[2] / "data" / "samples" / "recommender"
    files = ["--items", str(sample / "items.csv"), "--events", str(sample / "events.csv.gz")]
    done = CliRunner().invoke(app, ["data", "doctor", "recommender", *files])
    assert done.exit_code == 0
    assert "- 4 users act like machines, with 725 events (1.2%)" in done.output
    (tmp_path / "bad.csv").write_text("user_id,item_id,timestamp\nu,LL-1000,2099-01-01\n")
    done = CliRunner().invoke(
        app, ["data", "doctor", "recommender", *files[:3], str(tmp_path / "bad.csv"), "--json"]
    )
    assert done.exit_code == 1
    whats = {each["what"] for each in json.loads(done.stdout)["findings"]}
    assert "1 events (100.0%) are of the future" in whats
