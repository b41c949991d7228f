"""The benchmark of lists: an invented shop whose lists stay with the user's topic."""

import numpy as np

from pipelines.benchmark_lists import TOPIC_ITEMS, benchmark_lists, invented_shop


def test_lists_of_the_invented_shop_stay_with_what_its_users_take() -> None:
    shop = invented_shop(60, 10 * TOPIC_ITEMS, seed=1, say=lambda _: None)
    lists = shop.recommend(None, 5)
    assert lists["user_id"].nunique() == 60
    catalog = shop.bundle.catalog
    words = {name: set(t.split()) for name, t in zip(catalog.ids, catalog.titles, strict=True)}
    shared = []
    for user, own in lists.groupby("user_id"):
        known = set().union(*(words[item] for item in shop.history(str(user))["item_id"]))
        shared += [len(words[item] & known) for item in own["item_id"]]
    # Four words of ten are drawn from six thousand: an item of another topic shares hardly one.
    assert np.mean(shared) > 3


def test_its_speed_is_said_in_one_line() -> None:
    said: list[str] = []
    (found,) = benchmark_lists(50, said.append, items=4 * TOPIC_ITEMS)
    assert (found.users, found.items, found.ranking) == (50, 160, "fusion")
    assert found.alone_p95_ms >= found.alone_ms > 0
    assert said[-1] == found.line
    assert found.line.startswith("50 users x 160 items, ranking by fusion: ")
