"""What is added to a trained recommender counts at the next request, once, and outlives a kill."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apps.recommender.additions import AddedItem, Additions, Stamp, open_additions
from apps.recommender.auditing import open_encoder
from apps.recommender.event_joining import Hidden
from apps.recommender.formats import RawTable
from apps.recommender.growing import Trained, added_events, longer_log, more_words
from apps.recommender.importing import Imported, import_events, import_items
from apps.recommender.interactions import Interactions, event_times, from_events
from apps.recommender.live import LiveRecommender
from apps.recommender.recommender import Recommender
from apps.recommender.settings import EventSettings
from shared.errors import DataError
from shared.evaluation.report import Report
from shared.inference.runtime import Embedder
from shared.settings import Home

NOW = datetime(2024, 6, 1, tzinfo=UTC)
NEW = "item_id,title,categories,price\nfresh,green tea cup glass,tea,11\nshoe1,other,shoe,1\n"


@pytest.fixture(scope="module")
def embedder(
    shop: Recommender, trained: tuple[Path, Report], tmp_path_factory: pytest.TempPathFactory
) -> Embedder:
    return open_encoder(shop.bundle.encoder, trained[0], Home(tmp_path_factory.mktemp("home")))


@pytest.fixture
def live_at(shop: Recommender, tmp_path: Path) -> Callable[[], LiveRecommender]:
    """Each is as a process of its own: only the database is shared."""
    base = Recommender(shop.bundle, shop.rules, shop.fingerprint, 1, lambda: NOW)
    home = Home(tmp_path / "home")

    def build() -> LiveRecommender:
        opened = open_additions(home, base.fingerprint, environ={}, clock=lambda: NOW)
        return LiveRecommender(base, opened)

    return build


@pytest.fixture
def new_items(tmp_path: Path) -> Path:
    path = tmp_path / "new.csv"
    path.write_text(NEW)
    return path


def event_file(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "events.csv"
    path.write_text("\n".join(["user_id,item_id,timestamp,event", *rows]) + "\n")
    return path


def users_of(shop: Recommender, shelf: str) -> list[str]:
    return [u for u in shop.users if shop.history(u)["item_id"].iloc[0].startswith(shelf)]


def test_nothing_added_is_the_trained_model_and_makes_no_database(
    live_at: Callable[[], LiveRecommender], tmp_path: Path
) -> None:
    live = live_at()
    assert live.current() is live.base
    assert not (tmp_path / "home" / "triptych.db").exists()


def test_a_new_item_is_recommended_from_its_import_on_to_those_it_suits(
    live_at: Callable[[], LiveRecommender], new_items: Path, embedder: Embedder, shop: Recommender
) -> None:
    serving, importer = live_at(), live_at()
    before = serving.current()
    done = import_items(importer, lambda: embedder, new_items, {})
    assert done.line("items") == "items: 1 of 2 added; 1 known from the training, as they were"
    after = serving.current()
    tea, shoe = users_of(shop, "tea"), users_of(shop, "shoe")
    places = {}
    for name, users in (("tea", tea), ("shoe", shoe)):
        listed = after.recommend(users, 20)
        places[name] = listed["rank"][listed["item_id"] == "fresh"].tolist()
    assert len(places["tea"]) == len(tea)
    assert np.mean(places["tea"]) < np.mean(places["shoe"])
    assert "fresh" in set(after.similar("cold", 3)["item_id"])
    found = after.sources(tea[0], 20)
    (channels,) = found["channels"][found["item_id"] == "fresh"].tolist()
    assert set(channels.split("|")) <= {"sequence", "words", "meaning"}
    # The state that a request began with still serves it, and is unchanged.
    pd.testing.assert_frame_equal(before.recommend(tea[:3], 5), shop.recommend(tea[:3], 5))


def test_its_vector_is_that_of_training_and_it_is_found_by_both_indexes(
    live_at: Callable[[], LiveRecommender], new_items: Path, embedder: Embedder
) -> None:
    live = live_at()
    import_items(live, lambda: embedder, new_items, {})
    bundle = live.current().bundle
    text = bundle.catalog.texts[-1]
    expected = bundle.whitening(embedder.encode([text], normalised=False))
    assert bundle.channels.meaning[-1] == pytest.approx(expected[0], abs=1e-6)
    row = str(len(bundle.catalog) - 1)
    for vectors, index in (
        (bundle.channels.meaning, bundle.channels.meaning_index),
        (bundle.channels.moved, bundle.channels.moved_index),
    ):
        assert index.search(vectors[-1:], 1).ids[0, 0] == row


def test_words_of_new_items_are_weighed_as_the_catalogue_is(shop: Recommender) -> None:
    texts = ["green tea cup glass", "money shoe"]
    grown = more_words(Trained(shop.bundle), texts).toarray()
    count = len(shop.bundle.catalog)
    vectors = shop.word_weights.transform([*shop.bundle.catalog.texts, *texts]).toarray()
    near = vectors @ vectors.T
    np.fill_diagonal(near, 0.0)
    np.testing.assert_allclose(grown[:count, :count], shop.bundle.channels.words.toarray())
    # No row is full here: 200 neighbours of 33 items.
    np.testing.assert_allclose(grown[count:], near[count:], atol=1e-6)
    np.testing.assert_allclose(grown[:, count:], near[:, count:], atol=1e-6)


def test_an_import_repeated_adds_nothing_and_a_changed_item_is_replaced(
    live_at: Callable[[], LiveRecommender], new_items: Path, embedder: Embedder
) -> None:
    def never() -> Embedder:
        raise AssertionError("nothing is to be encoded")

    live = live_at()
    import_items(live, lambda: embedder, new_items, {})
    stamp = live.additions.stamp()
    again = import_items(live, never, new_items, {})
    assert (again.added, again.left["there already"]) == (0, 1)
    assert live.additions.stamp() == stamp
    new_items.write_text(NEW.replace("green tea cup glass", "red shoe lace gold"))
    assert import_items(live, lambda: embedder, new_items, {}).added == 1
    catalog = live.current().bundle.catalog
    assert (catalog.ids.count("fresh"), catalog.titles[-1]) == (1, "red shoe lace gold")


def test_an_event_counts_at_the_next_request_also_of_a_new_user(
    live_at: Callable[[], LiveRecommender], tmp_path: Path, shop: Recommender
) -> None:
    live = live_at()
    assert set(live.current().recommend(["nina"], 3)["reason"]) == {"popular in the last 30 days"}
    best = shop.recommend(["customer000"], 1)["item_id"].iloc[0]
    rows = [f"customer000,{best},2024-05-01,buy", "nina,shoe1,2024-05-01,buy",
            "nina,shoe2,2024-05-02,buy"]  # fmt: skip
    done = import_events(live, event_file(tmp_path, *rows), {})
    assert (done.rows, done.added) == (3, 3)
    now = live.current()
    assert now.history("nina")["item_id"].tolist() == ["shoe2", "shoe1"]
    assert best not in set(now.recommend(["customer000"], 10)["item_id"])
    assert now.history("customer000")["item_id"].iloc[0] == best
    listed = now.recommend(["nina"], 3)
    assert listed["item_id"].str.startswith("shoe").all()
    assert listed["reason"].str.startswith("because of").all()
    assert now.fingerprint != live.base.fingerprint
    restarted = live_at().current()
    pd.testing.assert_frame_equal(
        restarted.recommend(["nina", "customer000"], 5), now.recommend(["nina", "customer000"], 5)
    )


def test_what_a_user_hides_is_not_shown_again_whatever_is_asked_for(
    live_at: Callable[[], LiveRecommender], tmp_path: Path, shop: Recommender
) -> None:
    """Neither to a customer, who had it or did not, nor to somebody of whom nothing else is known;
    a purchase takes it back, a view does not."""
    had = shop.history("customer000")["item_id"].iloc[0]
    popular = shop.recommend(["nina"], 3)["item_id"].tolist()
    listed = shop.recommend(["customer000"], 3)["item_id"].iloc[0]
    live = live_at()
    rows = [f"customer000,{had},2024-05-01,hide", f"customer000,{listed},2024-05-01,hide",
            f"nina,{popular[1]},2024-05-01,hide"]  # fmt: skip
    assert import_events(live, event_file(tmp_path, *rows), {}).added == 3
    for now in (live.current(), live_at().current()):
        for include_seen in (False, True):
            lists = now.recommend(["customer000"], 100, include_seen)["item_id"].tolist()
            assert len(lists) == len(set(lists)) > 20
            assert not {had, listed} & set(lists)
        assert had not in set(now.history("customer000")["item_id"])
        assert now.recommend(["nina"], 2)["item_id"].tolist() == [popular[0], popular[2]]
        assert now.recommend(["bert"], 3)["item_id"].tolist() == popular
    assert import_events(live, event_file(tmp_path, *rows), {}).added == 0
    view = event_file(tmp_path, f"nina,{popular[1]},2024-05-02,view")
    import_events(live, view, {})
    assert popular[1] not in set(live.current().recommend(["nina"], 5)["item_id"])
    import_events(live, event_file(tmp_path, f"nina,{popular[1]},2024-05-03,buy"), {})
    assert live.current().history("nina")["item_id"].tolist() == [popular[1]]


def test_the_log_of_the_training_given_again_adds_nothing(
    live_at: Callable[[], LiveRecommender], shop_files: tuple[Path, Path]
) -> None:
    live = live_at()
    done = import_events(live, shop_files[1], {})
    assert (done.added, done.left["known from the training"]) == (0, done.rows)
    assert live.current() is live.base


def test_what_cannot_be_is_left_out_and_counted_and_what_is_early_waits(
    live_at: Callable[[], LiveRecommender], tmp_path: Path, new_items: Path, embedder: Embedder
) -> None:
    live = live_at()
    late = (NOW + timedelta(days=2)).isoformat()
    rows = ["nina,fresh,2024-05-01,buy", "nina,fresh,2024-05-01,buy", ",tea1,2024-05-01,buy",
            f"nina,tea1,{late},buy", f"{'n' * 201},tea1,2024-05-01,buy",
            "nina,tea1,whenever,buy"]  # fmt: skip
    said: list[str] = []
    done = import_events(live, event_file(tmp_path, *rows), {}, said.append)
    assert done.line("events") == (
        "events: 1 of 6 added; 1 without a user; 1 with an id or a type that is no short line; "
        "1 of the future; 1 there already; 1 that cannot be read"
    )
    assert said == ["events: 2 wait for items that were not imported yet: fresh"]
    assert live.current().history("nina").empty
    import_items(live, lambda: embedder, new_items, {})
    assert live.current().history("nina")["item_id"].tolist() == ["fresh"]


def test_a_killed_import_comes_back_whole(
    live_at: Callable[[], LiveRecommender], tmp_path: Path, embedder: Embedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = tmp_path / "many.csv"
    rows = [f"n{number},green tea cup number{number},tea,9" for number in range(10)]
    path.write_text("\n".join(["item_id,title,categories,price", *rows]))
    monkeypatch.setattr("apps.recommender.importing.ITEMS_AT_ONCE", 4)
    put = Additions.put_items
    calls: list[int] = []

    def killed_at_the_second(self: Additions, items: list[AddedItem]) -> None:
        calls.append(len(items))
        if len(calls) == 2:
            raise KeyboardInterrupt
        put(self, items)

    monkeypatch.setattr(Additions, "put_items", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        import_items(live_at(), lambda: embedder, path, {})
    assert len(live_at().current().bundle.catalog) == 33 + 4
    done = import_items(live_at(), lambda: embedder, path, {})
    assert (done.added, done.left["there already"]) == (6, 4)
    ids = live_at().current().bundle.catalog.ids
    assert sorted(ids[33:]) == [f"n{number}" for number in range(10)]


def test_events_without_times_do_not_fit_a_log_that_has_them(
    live_at: Callable[[], LiveRecommender], tmp_path: Path
) -> None:
    path = tmp_path / "sequences.txt"
    path.write_text("nina tea1 tea2\n")
    with pytest.raises(DataError) as caught:
        import_events(live_at(), path, {})
    assert str(caught.value) == (
        f"{path}: has no times; the events that the model was trained on have"
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_longer_log_is_the_one_that_training_would_read(seed: int) -> None:
    """Of events in the order of time, the later part added to the log of the earlier part."""
    rng = np.random.default_rng(seed)
    count, items = 60, [f"i{number}" for number in range(6)]
    frame = pd.DataFrame(
        {
            "user_id": rng.choice(["a", "b", "c", "d"], count),
            "item_id": rng.choice([*items, "unknown"], count),
            "timestamp": pd.to_datetime(1_700_000_000 + np.arange(count), unit="s", utc=True),
            "event": rng.choice(["view", "buy", "cart", "refund", "odd", "hide"], count),
            "value": np.nan,
        }
    )
    settings = EventSettings()

    def log_of(part: pd.DataFrame) -> Interactions:
        raw = RawTable(part.reset_index(drop=True), (), True, {})
        return from_events(raw, items, settings=settings, seed=0).interactions

    early, late = frame[:40], frame[40:]
    # Weights of pairs are only known as far as they were kept: no pair of the early part is undone
    # or capped here. One purchase says that the log knows which events take an item.
    early = early[early["event"].isin(["view", "hide"])]
    early = pd.concat([early, early[:1].assign(user_id="e", item_id="i0", event="buy")])
    events = late.assign(time=event_times(RawTable(late, (), True, {})))
    log = log_of(early)
    got = longer_log(log, *added_events(log, events, items, settings, ("buy",)), settings.most)
    expected = log_of(pd.concat([early, late]))
    assert len(expected.hidden) > 0
    assert _pairs(got) == _pairs(expected)
    assert _pairs(got, got.hidden) == _pairs(expected, expected.hidden)
    whole = early.assign(time=event_times(RawTable(early, (), True, {})))
    _, again = added_events(got, pd.concat([whole, events]), items, settings)
    hidden = set(zip(got.hidden.user.tolist(), got.hidden.item.tolist(), strict=True))
    assert not hidden & set(zip(again.user.tolist(), again.item.tolist(), strict=True))
    assert (np.diff(got.user) >= 0).all()
    assert all((np.diff(got.time[got.starts[u] : got.starts[u + 1]]) > 0).all()
               for u in range(got.n_users))  # fmt: skip


def _pairs(
    log: Interactions, of: Interactions | Hidden | None = None
) -> set[tuple[str, int, int, float]]:
    rows = log if of is None else of
    names = np.array(log.users, dtype=object)[rows.user]
    return set(
        zip(names, rows.item.tolist(), rows.time.tolist(), rows.weight.tolist(), strict=True)
    )


def test_without_a_clock_new_pairs_follow_and_known_ones_are_repeats(
    log_of: Callable[..., Interactions],
) -> None:
    log = log_of({"a": [0, 1], "b": [2]}, 4)
    events = pd.DataFrame(
        {"user_id": ["a", "b", "a", "c"], "item_id": ["i1", "i0", "i3", "i2"],
         "event": [""] * 4, "time": [0, 1, 2, 0], "value": [np.nan] * 4}
    )  # fmt: skip
    added = added_events(log, events, [f"i{number}" for number in range(4)], EventSettings())
    longer = longer_log(log, *added, EventSettings().most)
    assert longer.users == ("a", "b", "c")
    assert [longer.items_of(u).tolist() for u in range(3)] == [[0, 1, 3], [2, 0], [2]]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_was_added_to_one_model_is_not_in_another(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environ = {}
    if database == "postgresql":
        environ["TRIPTYCH_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    one, other = (
        open_additions(Home(tmp_path), name, environ=environ, clock=lambda: NOW)
        for name in ("one", "other")
    )
    events = pd.DataFrame(
        {"user_id": ["a"], "item_id": ["i"], "event": ["buy"], "time": [5], "value": [np.nan]}
    )
    assert one.stamp() == Stamp()
    assert (one.put_events(events), one.put_events(events), other.put_events(events)) == (1, 0, 1)
    fields = {"item_id": "x", "price": 2.5, "title": None}
    assert one.changed({"x": fields}) == ["x"]
    one.put_items([AddedItem("x", fields, np.ones(2, np.float32))])
    first = one.stamp()
    assert one.changed({"x": fields}) == []
    one.put_items([AddedItem("x", {**fields, "price": 3}, np.zeros(2, np.float32))])
    assert one.stamp().items > first.items
    assert other.stamp().items == 0
    assert other.items(other.stamp()) == []
    (item,) = one.items(one.stamp())
    assert (item.item_id, item.fields["price"], item.vector.tolist()) == ("x", 3, [0.0, 0.0])
    (event,) = one.events(one.stamp()).to_dict("records")
    assert (event["user_id"], event["time"], np.isnan(event["value"])) == ("a", 5, True)
    one.close()
    other.close()


def test_a_line_of_an_import_names_only_what_was_left_out() -> None:
    assert Imported(3, 2, {"odd": 1, "even": 0}).line("items") == "items: 2 of 3 added; 1 odd"
