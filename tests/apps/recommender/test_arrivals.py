"""New items where no channel proposes any: against a search through all pairs, and as lists."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from apps.recommender.arrivals import NEW, Arrivals, popular_with_arrivals, with_arrivals
from apps.recommender.bundle import Bundle
from apps.recommender.event_joining import Hidden
from apps.recommender.listing import ask
from apps.recommender.recommender import Recommender
from apps.recommender.retrieval import Asked, Candidates, Channels, Rows, candidates

FEW = 3


@pytest.fixture
def shop_with_new(shop: Recommender) -> Callable[[list[str]], Recommender]:
    """The shop as it would be if nobody had taken some of its items, with channels that propose
    FEW items each. What was learned of them stays."""

    def build(new: list[str]) -> Recommender:
        channels = shop.bundle.channels
        rows = [shop.item_rows[name] for name in new]
        log = channels.log.keep(~np.isin(channels.log.item, rows))
        ranking = channels.settings.ranking.model_copy(update={"candidates": FEW})
        settings = channels.settings.model_copy(update={"ranking": ranking})
        order = channels.order[~np.isin(channels.order, rows)]
        bare = replace(channels, log=log, settings=settings, order=order)
        return shop.with_bundle(replace(shop.bundle, channels=bare), "bare")

    return build


def found_by(channels: Channels, users: Rows, blocked: Rows) -> tuple[Asked, Candidates]:
    asked = ask(channels, users)
    found = candidates(
        channels.scorers(asked), asked, count=FEW, n_items=channels.log.n_items,
        include_seen=False, blocked=blocked,
    )  # fmt: skip
    return asked, found


@pytest.mark.parametrize("places", [1, 2, 10])
def test_who_is_short_of_new_items_gets_the_nearest(shop: Recommender, places: int) -> None:
    channels, facts = shop.bundle.channels, shop.facts
    rng = np.random.default_rng(places)
    new = np.zeros(channels.log.n_items, bool)
    new[rng.choice(len(new), 8, replace=False)] = True
    users = np.arange(40)
    hides = Hidden(
        users[:20].astype(np.int32), np.repeat(np.flatnonzero(new)[:2], 10).astype(np.int32),
        np.zeros(20, np.int64), np.full(20, -20, np.float32),
    )  # fmt: skip
    channels = replace(channels, log=replace(channels.log, hidden=hides))
    asked, found = found_by(channels, users, np.flatnonzero(new)[4:])
    arrivals = Arrivals(channels, facts, new, places)
    got = with_arrivals(found, asked, arrivals)
    kept = got.sources != NEW
    assert got.item[kept].tolist() == found.item.tolist()
    assert got.user[kept].tolist() == found.user.tolist()
    filled = 0
    for user in users:
        before = set(found.item[found.user == user].tolist())
        missing = max(0, places - int(new[list(before)].sum()))
        near = channels.meaning @ np.asarray(asked.profile[user] @ channels.meaning).ravel()
        hidden = set(hides.item[hides.user == user].tolist())
        left = [i for i in arrivals.order.tolist() if i not in before | hidden]
        left.sort(key=lambda item: -round(float(near[item]), 5))
        added = got.item[(got.user == user) & ~kept].tolist()
        assert sorted(round(float(near[i]), 5) for i in added) == sorted(
            round(float(near[i]), 5) for i in left[:missing]
        )
        filled += len(added)
    assert filled > 0


def test_arrivals_come_by_how_much_their_relatives_are_taken(
    shop_with_new: Callable[[list[str]], Recommender],
) -> None:
    served = shop_with_new(["tea3", "shoe3"])
    channels, facts = served.bundle.channels, served.facts
    new = channels.log.counts == 0
    kin = {
        i: float((channels.relatives[i] @ channels.log.log_counts)[0]) for i in np.flatnonzero(new)
    }
    order = Arrivals(channels, facts, new, 2).order.tolist()
    assert set(order) == set(kin)
    assert len(order) == 3
    assert [kin[i] for i in order] == sorted(kin.values(), reverse=True)
    # Of equals the newest, then the last of the catalogue.
    alike = replace(channels, relatives=channels.relatives * 0)
    created = np.full(len(new), -1)
    created[order[2]] = 5
    order_alike = Arrivals(alike, replace(facts, created=created), new, 2).order.tolist()
    assert order_alike == [order[2], *sorted(order[:2], reverse=True)]


def test_lists_have_new_items_at_their_places_wherever_they_come_from(
    shop_with_new: Callable[[list[str]], Recommender],
) -> None:
    """Bank customers are near to no shoe; three new ones of 33 items have one place of ten."""
    served = shop_with_new(["shoe0", "shoe1"])
    new = {"shoe0", "shoe1", "cold"}
    bankers = [u for u in served.users if served.history(u)["item_id"].str.startswith("bank").all()]
    bankers = [u for u in bankers if len(served.history(u))]
    lists = served.recommend(bankers, 10)
    counts = lists.groupby("user_id")["item_id"].agg(lambda items: len(new & set(items)))
    assert set(counts) == {1}
    sources = served.sources(bankers[0], 10).set_index("item_id")["channels"]
    (item,) = new & set(sources.index)
    assert sources[item] == "new"
    reasons = lists[lists["item_id"].isin(new)]["reason"]
    assert not reasons.str.contains("popular").any()


def test_who_is_not_known_is_shown_what_is_new_too(
    shop_with_new: Callable[[list[str]], Recommender],
) -> None:
    served = shop_with_new(["shoe0", "shoe1"])
    frame = served.recommend(["stranger"], 10)
    bundle: Bundle = served.bundle
    best = [bundle.catalog.ids[i] for i in bundle.channels.order[:9]]
    assert frame["item_id"].tolist()[:9] == best
    assert frame["item_id"].iloc[9] in {"shoe0", "shoe1", "cold"}
    assert frame["reason"].tolist() == ["popular in the last 30 days"] * 9 + ["new in the shop"]
    assert served.sources("stranger", 10)["channels"].tolist() == ["popular"] * 9 + ["new"]
    assert served.recommend(["stranger"], 9)["item_id"].tolist() == best


def test_of_what_is_popular_none_is_lost(shop: Recommender) -> None:
    channels = shop.bundle.channels
    new = np.zeros(channels.log.n_items, bool)
    new[channels.order[[2, 20]]] = True
    arrivals = Arrivals(channels, shop.facts, new, 1)
    assert popular_with_arrivals(channels.order[:15], arrivals).tolist()[:15] == (
        channels.order[:15].tolist()
    )
    none = Arrivals(channels, shop.facts, new, 0)
    assert popular_with_arrivals(channels.order, none).tolist() == channels.order.tolist()
