"""What is taken again: takings, habits, chances, and lists with it."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from apps.recommender.bundle import REPEATS, TAKINGS, load_bundle
from apps.recommender.comparison import compare
from apps.recommender.formats import RawTable
from apps.recommender.growing import with_events
from apps.recommender.interactions import DAY, Interactions, from_events
from apps.recommender.listing import AGAIN, Ranked, with_repeats
from apps.recommender.recipe import RecommenderRecipe, evaluate
from apps.recommender.recommender import Recommender
from apps.recommender.repeat_fitting import fit_repeats
from apps.recommender.repeat_judging import HABIT, WITH, WITHOUT
from apps.recommender.repeats import (
    TRAITS,
    Chance,
    Found,
    fit_chance,
    most_taken,
    repeat_reason,
)
from apps.recommender.retrieval import SOURCES
from apps.recommender.settings import Campaign, EventSettings, RecommenderSettings, RuleSettings
from apps.recommender.splits import Pairs, cut_at, leave_last_out
from apps.recommender.takings import Habits, Takings, habits_of, takings_of
from apps.recommender.word_reasons import word_reasons
from pipelines.benchmark_recommender import benchmark_recommender
from shared.errors import DataError
from shared.evaluation.gate import GateLimits
from shared.evaluation.gate import judge as judge_gate
from shared.evaluation.report import Report
from shared.settings import Home
from shared.training.options import TrainOptions
from tests.apps.recommender.conftest import SHELVES, habit_events, publish, shop_items

PAGE = Path(__file__).parents[3] / "apps" / "recommender" / "recommender_page.py"
ITEMS = ("i0", "i1", "i2", "i3")
FIRST = datetime(2024, 3, 1, 9, tzinfo=UTC)


def log_of(
    *events: tuple[str, str, float, str], settings: EventSettings | None = None
) -> Interactions:
    """Of (user, item, days after the first one, type)."""
    frame = pd.DataFrame(events, columns=pd.Index(["user_id", "item_id", "day", "event"]))
    frame["timestamp"] = pd.to_datetime(
        [FIRST + timedelta(days=day) for day in frame.pop("day")], utc=True
    )
    return read(frame, settings=settings)


def read(
    frame: pd.DataFrame,
    *,
    items: Sequence[str] = ITEMS,
    settings: EventSettings | None = None,
) -> Interactions:
    raw = RawTable(frame.reset_index(drop=True).assign(value=np.nan), (), True, {})
    return from_events(raw, items, settings=settings or EventSettings(), seed=0).interactions


def day(microseconds: int) -> float:
    return round((microseconds - int(FIRST.timestamp() * 1e6)) / DAY, 3)


def taken(log: Interactions) -> list[tuple[str, str, float]]:
    found = takings_of(log)
    return [
        (log.users[u], ITEMS[i], day(int(t)))
        for u, i, t in zip(found.user, found.item, found.time, strict=True)
    ]


def random_events(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    count = 80
    return pd.DataFrame(
        {
            "user_id": rng.choice(["a", "b", "c"], count),
            "item_id": rng.choice([*ITEMS, "unknown"], count),
            "timestamp": pd.to_datetime(
                1_700_000_000 + np.sort(rng.integers(0, 40 * 86_400, count)), unit="s", utc=True
            ),
            "event": rng.choice(["view", "buy", "cart", "refund", "hide"], count),
        }
    )


def named(log: Interactions) -> list[tuple[str, int, int, float]]:
    return sorted(
        (log.users[u], int(i), int(t), float(w))
        for u, i, t, w in zip(log.user, log.item, log.time, log.weight, strict=True)
    )


def hidden(log: Interactions) -> list[tuple[str, str, int, float]]:
    rows = zip(*vars(log.hidden).values(), strict=True)
    return sorted((log.users[u], ITEMS[i], int(t), float(w)) for u, i, t, w in rows)


@pytest.mark.parametrize("seed", range(6))
def test_a_log_as_it_was_is_the_one_read_then(seed: int) -> None:
    frame = random_events(seed)
    whole = read(frame)
    moment = frame["timestamp"].iloc[50]
    got = whole.as_of(int(moment.timestamp() * 1e6))
    then = read(frame[frame["timestamp"] <= moment])
    assert named(got) == named(then)
    assert hidden(got) == hidden(then) != []
    assert (np.diff(got.user) >= 0).all()
    assert taken(got) == taken(read(frame[frame["timestamp"] <= moment]))


def test_pairs_that_are_the_same_keep_the_order_in_which_their_ties_were_drawn() -> None:
    events = [("a", item, 0.0, "buy") for item in ITEMS] + [("a", "i0", 9.0, "buy")]
    log = log_of(*events)
    then = log.as_of(log.now - DAY)
    drawn = [i for i in log.item.tolist() if i != 0]
    assert [i for i in then.item.tolist() if i != 0] == drawn
    assert then.item.tolist()[-1] == 0  # it had no place among the ties


@pytest.mark.parametrize("seed", range(6))
def test_a_cut_holds_out_new_pairs_and_those_taken_again_apart(seed: int) -> None:
    frame = random_events(seed)
    log = read(frame)
    moment = int(frame["timestamp"].iloc[45].timestamp() * 1e6)
    split = cut_at(log, moment)
    known = {row[:2] for row in named(split.known)}
    whole = {row[:2] for row in named(log)}
    new = {(log.users[u], int(i)) for u, i in zip(split.user, split.item, strict=True)}
    assert new == whole - known
    buys = frame[(frame["event"] == "buy") & frame["item_id"].isin(ITEMS)]
    before = buys["timestamp"].map(lambda t: t.timestamp() * 1e6) <= moment
    pairs = [
        {(u, ITEMS.index(i)) for u, i in zip(part["user_id"], part["item_id"], strict=True)}
        for part in (buys[before], buys[~before])
    ]
    again = {
        (log.users[u], int(i)) for u, i in zip(split.again.user, split.again.item, strict=True)
    }
    assert again == pairs[0] & pairs[1] & known
    assert (np.diff(split.again.user) >= 0).all()
    first = np.arange(log.n_users) == 0
    assert set(split.of_users(first).again.user.tolist()) <= {0}


def test_the_last_items_of_users_tell_nothing_of_what_is_taken_again() -> None:
    log = log_of(("a", "i0", 0, "buy"), ("a", "i1", 1, "buy"), ("a", "i0", 2, "buy"))
    assert len(leave_last_out(log).again) == 0


def test_takings_are_one_a_day_and_only_of_the_types_that_take() -> None:
    log = log_of(
        ("a", "i0", 0, "view"),
        ("a", "i0", 1, "buy"),
        ("a", "i0", 1.1, "buy"),  # the same day, in a second order
        ("a", "i0", 9, "buy"),
        ("b", "i0", 9, "cart"),
    )
    assert taken(log) == [("a", "i0", 1.1), ("a", "i0", 9.0)]


def test_a_refund_takes_back_the_newest_taking_before_it() -> None:
    log = log_of(
        ("a", "i0", 0, "buy"),
        ("a", "i0", 5, "buy"),
        ("a", "i0", 6, "refund"),
        ("a", "i0", 20, "buy"),
        ("a", "i1", 0, "refund"),  # of nothing: and what follows stands
        ("a", "i1", 1, "buy"),
        ("a", "i1", 2, "buy"),
        ("b", "i0", 0, "buy"),
        ("b", "i0", 1, "refund"),  # nothing is left of the pair
    )
    assert taken(log) == [("a", "i0", 0.0), ("a", "i0", 20.0), ("a", "i1", 1.0), ("a", "i1", 2.0)]


def test_what_was_hidden_was_not_taken_however_often_it_was() -> None:
    bought = [("a", "i0", float(day), "buy") for day in (0, 10, 20)]
    log = log_of(*bought, ("a", "i0", 25, "hide"))
    assert len(log) == 0
    assert taken(log) == []
    log = log_of(*bought, ("a", "i0", 25, "hide"), ("a", "i0", 30, "view"))
    assert (len(log), log.hidden.weight.tolist()) == (0, [-19.0])
    after = [(28, "view"), (30, "buy"), (31, "view")]
    log = log_of(*bought, ("a", "i0", 25, "hide"), *(("a", "i0", d, kind) for d, kind in after))
    assert taken(log) == [("a", "i0", 30.0)]
    assert (log.weight.tolist(), len(log.hidden)) == ([9.0], 0)


def test_in_a_log_without_the_types_that_take_every_event_does() -> None:
    log = log_of(("a", "i0", 0, "play"), ("a", "i0", 2, "play"))
    assert taken(log) == [("a", "i0", 0.0), ("a", "i0", 2.0)]
    rented = EventSettings(taken=("Rent",))
    log = log_of(("a", "i0", 0, "rent"), ("a", "i0", 2, "buy"), settings=rented)
    assert taken(log) == [("a", "i0", 0.0)]


def test_a_log_without_a_clock_has_no_takings(log_of: Callable[..., Interactions]) -> None:
    assert len(takings_of(log_of({"a": [0, 1, 0]}, 2))) == 0


def habits() -> Habits:
    """a took i0 on days 0, 10, 30 and i1 on day 30; b took i0 on days 0, 20; c took i1 on day 5."""
    rows = [(0, 0, 0), (0, 0, 10), (0, 0, 30), (0, 1, 30), (1, 0, 0), (1, 0, 20), (2, 1, 5)]
    user, item, days = (np.array(column) for column in zip(*rows, strict=True))
    takings = Takings(user.astype(np.int32), item.astype(np.int32), days.astype(np.int64) * DAY)
    return habits_of(takings, 4, 3)


def test_habits_count_takings_and_smooth_their_shares() -> None:
    found = habits()
    assert found.times.tolist() == [3, 1, 2, 1]
    assert found.starts.tolist() == [0, 2, 3, 4, 4]
    np.testing.assert_allclose(found.own_interval, [15, np.nan, 20, np.nan])
    share = (2 + 1) / (4 + 2)
    assert found.share == pytest.approx(share)
    np.testing.assert_allclose(
        found.item_share, [(2 + 10 * share) / 12, (0 + 10 * share) / 12, share]
    )
    np.testing.assert_allclose(
        found.user_share,
        [(1 + 5 * share) / 7, (1 + 5 * share) / 6, (0 + 5 * share) / 6, share],
    )
    whole = (np.log(15) + np.log(20)) / 2
    usual = np.exp([(np.log(15) + np.log(20) + 2 * whole) / 4, whole, whole])
    np.testing.assert_allclose(found.item_interval, usual)
    own = np.exp((2 * np.log(15) + 2 * np.log(usual[0])) / 4)
    np.testing.assert_allclose(found.interval[:2], [own, usual[1]])
    assert (found.item_last // DAY).tolist() == [30, 30, 0]
    assert (found.user_last // DAY).tolist() == [30, 20, 5, 0]


def test_what_was_taken_most_often_comes_first_and_of_equals_the_newest() -> None:
    found = most_taken(habits(), np.array([0, 3, 1]), 3)
    assert found.tolist() == [[0, 1, -1], [-1, -1, -1], [0, -1, -1]]


def test_the_reason_says_how_often_how_regularly_and_when_last() -> None:
    found = habits()
    assert [repeat_reason(found, row) for row in range(4)] == [
        "again: had 3 times, about every 15 days, last on 1970-01-31",
        "again: had once, on 1970-01-31",
        "again: had twice, about every 20 days, last on 1970-01-21",
        "again: had once, on 1970-01-06",
    ]
    # b's habit is not known: what it did once it may do as a does.
    user, item, days = (np.array(c) for c in zip((0, 0, 0), (0, 0, 1), (1, 0, 3), strict=True))
    takings = Takings(user.astype(np.int32), item.astype(np.int32), days.astype(np.int64) * DAY)
    assert repeat_reason(habits_of(takings, 2, 1), 1).endswith(
        "on 1970-01-04; others took it again after 1 day"
    )


def test_a_chance_is_learned_on_values_as_they_are() -> None:
    rng = np.random.default_rng(1)
    traits = rng.normal([5.0, -2.0], [2.0, 0.5], (20_000, 2))
    true = Chance((0.8, -1.5), -6.0)
    found = fit_chance(traits, rng.random(len(traits)) < true(traits))
    np.testing.assert_allclose(found.weights, true.weights, atol=0.12)
    assert found.intercept == pytest.approx(true.intercept, abs=0.5)


@pytest.mark.parametrize("happened", [True, False])
def test_a_chance_of_what_always_or_never_happened_is_its_share(happened: bool) -> None:
    found = fit_chance(np.ones((8, 2)), np.full(8, happened))
    np.testing.assert_allclose(found(np.zeros((1, 2))), [9 / 10 if happened else 1 / 10])


@pytest.mark.parametrize("seed", range(20))
def test_lists_with_what_is_found_are_merged_by_chance(seed: int) -> None:
    """Against a merge one by one: ahead is what is likelier, a list before what is as likely."""
    rng = np.random.default_rng(seed)
    users, wide, most = 5, 6, 3
    levels = [0.1, 0.2, 0.3, 0.4, 0.5]
    length, count = rng.integers(0, wide + 1, users), rng.integers(0, most + 1, users)
    placed = -np.sort(-rng.choice(levels, (users, wide)))
    chance = -np.sort(-rng.choice(levels, (users, most)))
    score = -np.sort(-rng.normal(size=(users, wide))).astype(np.float32)
    listed, there = np.arange(wide) < length[:, None], np.arange(most) < count[:, None]
    item = np.where(there, 100 + np.arange(most), -1)
    ranked = Ranked(
        np.nonzero(listed)[0],
        np.nonzero(listed)[1],
        score[listed],
        np.ones(int(length.sum()), np.uint8),
        np.full(int(length.sum()), -1),
    )
    got = with_repeats(ranked, Found(item, np.where(there, chance, 0.0), item - 100), placed)
    assert (np.diff(got.user) >= 0).all()
    for user in range(users):
        left, right = list(range(length[user])), list(range(100, 100 + count[user]))
        expected: list[int] = []
        while left or right:
            first = left and (not right or placed[user, left[0]] >= chance[user, right[0] - 100])
            expected.append(left.pop(0) if first else right.pop(0))
        own = got.user == user
        assert got.item[own].tolist() == expected
        assert (np.diff(got.score[own]) <= 0).all()
        again = got.item[own] >= 100
        assert got.sources[own][again].tolist() == [AGAIN] * int(again.sum())
        assert got.habit[own].tolist() == [i - 100 if i >= 100 else -1 for i in expected]
        assert got.score[own][~again].tolist() == score[user, : length[user]].tolist()


@pytest.fixture(scope="module")
def served(habitual: tuple[Path, Report]) -> Recommender:
    return Recommender.load(habitual[0], home=Home(habitual[0]), threads=1, rules=RuleSettings())


def due_user(served: Recommender) -> tuple[str, str]:
    """(somebody, what is offered to them again)"""
    first = served.recommend(k=1)
    chosen = first[first["item_id"].str.endswith("7")].iloc[0]
    return str(chosen["user_id"]), str(chosen["item_id"])


def test_a_shop_whose_customers_come_back_offers_what_they_come_back_for(
    served: Recommender, habitual: tuple[Path, Report]
) -> None:
    repeats = served.bundle.repeats
    assert repeats is not None
    assert repeats.model.kinds == ("buy",)
    assert repeats.model.low > 0
    frame = served.recommend(k=5)
    # Everybody had the last item of a shelf every 40 days: most of those whose time has come are
    # offered it first, and nobody who had it in the last days is offered it at all.
    again = frame["reason"].str.startswith("again:")
    staples = frame[again & frame["item_id"].str.endswith("7")]
    every = r"again: had \d times, about every (3[5-9]|4[0-5]) days"
    assert staples["reason"].str.match(every).all()
    habits = repeats.habits
    rest = np.where(habits.times > 1, (served.bundle.log.now - habits.last) / DAY, np.nan)
    first = set(staples["user_id"][staples["rank"] == 1])
    due = {served.users[u] for u in habits.user[rest > 30]}
    early = {served.users[u] for u in habits.user[rest < 0.25 * 35]}
    assert min(len(due), len(early)) > 20
    assert len(due & first) > 0.9 * len(due)
    assert not early & set(staples["user_id"])
    for _, rows in frame.groupby("user_id"):
        assert rows["rank"].tolist() == [1, 2, 3, 4, 5]
        assert rows["item_id"].is_unique
        assert (np.diff(rows["score"]) <= 0).all()
    notes = " ".join(habitual[1].notes)
    assert "offered again: " in notes
    assert "what each took most often, alone" in notes
    assert "taken again" in [each.name for each in habitual[1].slices]


def test_what_is_offered_again_is_told_by_its_source(served: Recommender) -> None:
    user, _ = due_user(served)
    listed = served.recommend([user], 5)
    sources = served.sources(user, 5).set_index("item_id")["channels"]
    for item, why in zip(listed["item_id"], listed["reason"], strict=True):
        assert (sources[item] == "again") == why.startswith("again:")
    assert 1 << SOURCES.index("again") == AGAIN


def test_lists_without_it_are_those_of_the_ranking(served: Recommender) -> None:
    users = list(served.users[:20])
    plain = served.recommend(users, 5, again=False)
    assert not plain["reason"].str.startswith("again:").any()
    mixed = served.recommend(users, 5)
    for user in users:
        own = mixed[(mixed["user_id"] == user) & ~mixed["reason"].str.startswith("again:")]
        ranked = plain[plain["user_id"] == user]
        assert own["item_id"].tolist() == ranked["item_id"].tolist()[: len(own)]
    seen = served.recommend(users, 5, include_seen=True)
    assert not seen["reason"].str.startswith("again:").any()


def test_the_reason_is_true_without_the_habit_the_item_is_not_there(served: Recommender) -> None:
    user, item = due_user(served)
    row = served.user_rows[user]
    bundle = served.bundle
    assert bundle.repeats is not None
    takings = bundle.repeats.takings
    kept = ~((takings.user == row) & (takings.item == served.item_row(item)))
    less = Takings(takings.user[kept], takings.item[kept], takings.time[kept])
    without = replace(bundle, repeats=replace(bundle.repeats, takings=less))
    other = served.with_bundle(without, "other")
    assert item not in set(other.recommend([user], 10)["item_id"])


def test_rules_hold_for_what_is_offered_again(served: Recommender) -> None:
    user, staple = due_user(served)
    blocked = replace(served, rules=RuleSettings(blocked=(staple,)), _day_rules={})
    assert staple not in set(blocked.recommend([user], 10)["item_id"])
    back = Campaign(name="last", items=(staple,), boost=-50.0)
    held = replace(served, rules=RuleSettings(campaigns=(back,)), _day_rules={})
    listed = held.recommend([user], 10)
    place = listed["item_id"].tolist()
    assert staple not in place[:3]


def test_what_is_bought_counts_at_the_next_request(served: Recommender) -> None:
    user, staple = due_user(served)
    now = served.bundle.log.now

    def after(*events: tuple[str, str, str, float]) -> pd.DataFrame:
        rows = pd.DataFrame(events, columns=pd.Index(["user_id", "item_id", "event", "day"]))
        rows["time"] = (now + rows.pop("day") * DAY).astype(np.int64)
        bundle = with_events(served.bundle, rows.assign(value=np.nan))
        return served.with_bundle(bundle, "longer").recommend([user], 10)

    viewed = after((user, staple, "view", 30.0))
    reason = viewed["reason"][viewed["item_id"] == staple].iloc[0]
    assert reason.startswith("again: had 5 times")
    # Somebody else's purchase is 20 days later than this one: half the interval has gone by.
    bought = after((user, staple, "buy", 30.0), ("new", "tea0", "buy", 50.0))
    reason = bought["reason"][bought["item_id"] == staple].iloc[0]
    assert reason.startswith("again: had 6 times")
    at_once = after((user, staple, "buy", 30.0))
    assert staple not in set(at_once["item_id"])
    hidden = after((user, staple, "hide", 30.0)).set_index("item_id")["reason"]
    assert not hidden.get(staple, "").startswith("again:")
    undone = after((user, staple, "buy", 30.0), (user, staple, "refund", 31.0))
    reason = undone["reason"][undone["item_id"] == staple].iloc[0]
    assert reason.startswith("again: had 5 times")


def test_the_folder_keeps_it_and_one_without_it_loads(
    habitual: tuple[Path, Report], trained: tuple[Path, Report], tmp_path: Path
) -> None:
    copy = shutil.copytree(habitual[0], tmp_path / "model")
    whole = load_bundle(copy)
    assert whole.repeats is not None
    said = json.loads((copy / REPEATS).read_text())
    assert tuple(said["taken"]["weights"]) == whole.repeats.model.taken.weights
    assert len(said["taken"]["weights"]) == len(TRAITS)
    assert len(whole.repeats.takings) == len(habit_events())
    (copy / REPEATS).unlink()
    (copy / TAKINGS).unlink()
    assert load_bundle(copy).repeats is None
    # The shop whose customers never come back was cut by its last items and offers nothing.
    assert load_bundle(trained[0]).repeats is None
    assert "nothing is offered again: only a log cut in time tells what is taken again" in (
        trained[1].notes
    )


def test_words_are_no_reason_for_what_is_offered_again(served: Recommender) -> None:
    user, staple = due_user(served)
    why = served.recommend([user], 1)["reason"].iloc[0]
    with pytest.raises(DataError) as caught:
        word_reasons(served, _no_encoder, user, staple)  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"item {staple!r} is offered to user {user!r} for what they did, whatever its text says: "
        f"{why}"
    )


def _no_encoder(*_: object) -> None:
    raise AssertionError("nothing is to be encoded")


@pytest.fixture
def later(served: Recommender, tmp_path: Path) -> Path:
    """Everybody has the staple within 40 days after the log, and half of them something new."""
    rows = []
    for row, user in enumerate(served.users):
        staple = f"{list(SHELVES)[int(user[-3:]) % len(SHELVES)]}7"
        for item in (staple, "cold")[: 1 + row % 2]:
            rows.append((user, item, "2024-08-15T10:00:00Z", "buy"))
    path = tmp_path / "later.csv"
    columns = pd.Index(["user_id", "item_id", "timestamp", "event"])
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def test_evaluating_on_later_events_tells_what_it_is_worth(
    habitual: tuple[Path, Report], later: Path, tmp_path: Path
) -> None:
    report = evaluate(habitual[0], later, {}, Home(tmp_path))
    (note,) = [note for note in report.notes if "were taken again" in note]
    assert note.startswith(
        "160 items were taken again; over all that 160 users took, new or again: NDCG@10 0."
    )
    assert note.endswith(": better")


def test_the_gate_judges_what_is_offered_again(
    habitual: tuple[Path, Report], later: Path, served: Recommender, tmp_path: Path
) -> None:
    """A version that offers nothing again is as good at what is new, and does not pass."""
    bare = shutil.copytree(habitual[0], tmp_path / "bare")
    (bare / "repeats.json").unlink()
    home = Home(tmp_path)
    contest = compare(bare, habitual[0], later, {}, home, say=lambda _: None)
    assert contest.notes == ("80 new pairs of 80 users", "160 pairs taken again")
    new, again = contest.pairs()
    assert new.candidate.scores.tolist() == new.production.scores.tolist()
    assert (again.candidate.task, len(again.candidate)) == ("NDCG@10, new or again", 160)
    lists = served.recommend(list(again.production.shown), 10)
    told = dict(zip(again.production.shown, again.production.decisions, strict=True))
    assert told == {u: " ".join(part["item_id"]) for u, part in lists.groupby("user_id")}
    blocking = {check.name for check in judge_gate(contest.pairs(), GateLimits()).blocking}
    assert "NDCG@10, new or again" in blocking
    assert "NDCG@10" not in blocking
    back = compare(habitual[0], bare, later, {}, home, say=lambda _: None)
    assert judge_gate(back.pairs(), GateLimits()).passed
    # Events that a model was trained on are nothing that was taken again.
    both = pd.concat([pd.read_csv(habitual[0].parent / "events.csv"), pd.read_csv(later)])
    both.to_csv(tmp_path / "both.csv", index=False)
    assert compare(
        bare, habitual[0], tmp_path / "both.csv", {}, home, say=lambda _: None
    ).notes == (contest.notes)


def test_the_page_tells_the_source_and_why_no_word_explains_it(
    habitual: tuple[Path, Report],
    served: Recommender,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(shutil.copytree(habitual[0], tmp_path / "trained"), tmp_path, "habits")
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    user, staple = due_user(served)
    page.sidebar.text_input[0].set_value(user).run()
    assert not page.exception
    listed = page.dataframe[0].value.set_index("item_id")
    assert listed.loc[staple, "channels"] == "again"
    assert str(listed.loc[staple, "reason"]).startswith("again: had ")
    page.expander[1].selectbox[0].set_value(staple).run()
    assert not page.exception
    assert f"Item '{staple}' is offered to user '{user}' for what they did" in page.info[0].value


@pytest.mark.parametrize(
    ("staples", "places", "note"),
    [
        (False, 10, "of those who choose only 0 took an item again (30 are needed)"),
        (True, 0, "again_places = 0"),
    ],
)
def test_nothing_is_offered_where_nobody_comes_back_or_the_shop_does_without(
    staples: bool,
    places: int,
    note: str,
    shop_files: tuple[Path, Path],
    tiny_encoder: Path,
    tmp_path: Path,
    quick_settings: RecommenderSettings,
) -> None:
    events = habit_events()
    log = tmp_path / "events.csv"
    events[staples | ~events["item_id"].str.endswith("7")].to_csv(log, index=False)
    ranking = quick_settings.ranking.model_copy(update={"again_places": places})
    settings = quick_settings.model_copy(update={"held_out": "time", "ranking": ranking})
    recipe = RecommenderRecipe(shop_files[0], log, settings=settings, even_if_worse=True)
    options = TrainOptions(method="frozen", base=str(tiny_encoder), threads=1)
    said: list[str] = []
    recipe.fit(tmp_path / "model", options=options, home=Home(tmp_path), say=said.append)
    assert f"nothing is offered again: {note}" in said
    assert load_bundle(tmp_path / "model").repeats is None


def test_what_makes_lists_no_better_is_not_offered(
    served: Recommender,
) -> None:
    """The targets of the shop's own users, of which those taken again are others' staples."""
    bundle = served.bundle
    log = log_with_events()
    split = cut_at(log, int(np.quantile(log.time, 0.8)))
    channels = replace(bundle.channels, log=split.known)
    strangers = (split.again.item + 8) % 32  # of the next shelf
    odd = replace(split, again=Pairs(split.again.user, strangers))
    own, other = (
        fit_repeats(channels, served.facts, bundle.ranking, each, seed=1, threads=1)
        for each in (split, odd)
    )
    assert own.repeats is not None
    assert own.note.startswith("offered again: ")
    assert other.repeats is None
    assert other.note.startswith(
        "nothing is offered again, lists are not better with it beyond noise: "
    )


def log_with_events() -> Interactions:
    frame = habit_events()
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True)
    return read(frame, items=shop_items()["item_id"].tolist())


def test_the_benchmark_tells_what_it_is_worth_on_a_log_cut_in_time(
    shop_files: tuple[Path, Path],
    tiny_encoder: Path,
    tmp_path: Path,
    quick_settings: RecommenderSettings,
) -> None:
    log = tmp_path / "events.csv"
    habit_events().to_csv(log, index=False)
    found = benchmark_recommender(
        shop_files[0], log, home=Home(tmp_path), threads=1, base=str(tiny_encoder),
        rivals=("item-kNN",), settings=quick_settings, splits=("last", "time"), say=lambda _: None,
    )  # fmt: skip
    rows = [row for row in found.rows if row.part == "all that was taken, new or again"]
    assert {row.data for row in rows} == {"items.csv, cut in time"}
    ndcg = {row.system: row.value for row in rows if row.measure == "NDCG@10"}
    assert ndcg[WITH] > max(ndcg[WITHOUT], ndcg[HABIT])
    assert sum("offered again" in note for note in found.notes) == 2
