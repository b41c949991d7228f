"""The benchmark of lists: an invented shop whose lists stay with the user's topic."""

import numpy as np

from pipelines.benchmark_lists import TOPIC_ITEMS, ShopSize, benchmark_lists, invented_shop


def test_lists_of_the_invented_shop_stay_with_what_its_users_take() -> None:
    shop = invented_shop(ShopSize(10 * TOPIC_ITEMS, 60), seed=1, say=lambda _: None).recommender
    lists = shop.recommend(None, 5)
    assert lists["user_id"].nunique() == 60
    catalog = shop.bundle.catalog
    words = {name: set(t.split()) for name, t in zip(catalog.ids, catalog.titles, strict=True)}
    shared, by_chance = [], []
    for user, own in lists.groupby("user_id"):
        known = set().union(*(words[item] for item in shop.history(str(user))["item_id"]))
        shared += [len(words[item] & known) for item in own["item_id"]]
        by_chance += [len(of_one & known) for of_one in words.values()]
    assert np.mean(shared) > 2 * np.mean(by_chance) > 0


def test_its_speed_is_said_in_one_line() -> None:
    said: list[str] = []
    (found,) = benchmark_lists(50, said.append, size=ShopSize(4 * TOPIC_ITEMS, 60))
    assert (found.items, found.users, found.listed, found.ranking) == (160, 60, 50, "fusion")
    assert 60 < found.events <= 60 * 9
    assert found.alone_p95_ms >= found.alone_ms > 0
    assert min(found.tables_seconds, found.rest_seconds, found.gigabytes) > 0
    assert said[-1] == found.line
    assert found.line.startswith("160 items, 60 users, ")
