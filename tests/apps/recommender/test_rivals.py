"""Rivals must be right, or beating them means nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from apps.recommender.interactions import Interactions
from apps.recommender.listing import ask
from apps.recommender.recommender import Recommender
from apps.recommender.retrieval import CHANNELS
from apps.recommender.rivals import EASE_L2, RIVALS, Field, rank_all, rival_field, rival_lists
from apps.recommender.sasrec import train_sasrec
from apps.recommender.settings import RecommenderSettings
from apps.recommender.sources import source_lists
from apps.recommender.vectors import unit_rows
from pipelines.benchmark import run_benchmark
from pipelines.benchmark_recommender import OTHERS, PLAIN, benchmark_recommender
from shared.errors import DataError
from shared.settings import Home

TEXTS = ("green tea", "tea pot", "red shoe", "shoe lace", "green cup")


@pytest.fixture
def given(log_of: Callable[..., Interactions]) -> Field:
    log = log_of({"ann": [0, 1], "bob": [0, 1, 4], "eve": [2, 3], "kim": [2], "lee": [0]}, 5)
    raw = unit_rows(np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32))
    return rival_field(
        log, np.arange(5), raw=raw, texts=TEXTS, settings=RecommenderSettings(), seed=1
    )


def scores_of(name: str, given: Field) -> np.ndarray[tuple[int, ...], np.dtype[np.floating]]:
    score = RIVALS[name](given)
    assert score is not None
    return np.asarray(score(slice(0, len(given.users))))


def test_the_most_taken_come_first_and_what_was_had_never(given: Field) -> None:
    lists = rival_lists(given, ("popular, all time",), k=5)["popular, all time"]
    assert lists[3, 0] == 0  # kim has 2; item 0 was taken three times
    for user in range(5):
        had = set(given.log.items_of(user).tolist())
        assert not had & set(lists[user].tolist())
        assert (lists[user] >= 0).sum() == 5 - len(had)


def test_windows_of_popularity_need_a_clock(given: Field) -> None:
    assert RIVALS["popular, last 7 days"](given) is None


def test_item_knn_is_the_weighted_sum_of_shrunk_cosines(given: Field) -> None:
    taken = np.asarray((given.log.matrix > 0).todense()).astype(float)
    count = taken.sum(0)
    cosine = taken.T @ taken / (np.sqrt(np.outer(count, count)) + 10.0)
    np.fill_diagonal(cosine, 0)
    expected = given.profile.toarray() @ cosine
    assert scores_of("item-kNN", given) == pytest.approx(expected, abs=1e-5)


def test_ease_is_its_closed_form(given: Field) -> None:
    """Each column solves ridge regression of the item on the others."""
    taken = np.asarray((given.log.matrix > 0).todense()).astype(float)
    expected = np.zeros((5, 5))
    for item in range(5):
        others = np.delete(np.arange(5), item)
        x = taken[:, others]
        expected[others, item] = np.linalg.solve(
            x.T @ x + EASE_L2 * np.eye(4), x.T @ taken[:, item]
        )
    assert scores_of("EASE", given) == pytest.approx(taken @ expected, abs=1e-5)


def test_tfidf_prefers_the_texts_of_the_history(given: Field) -> None:
    scores = scores_of("TF-IDF mean", given)
    assert scores[4].argmax() == 0  # lee's own item
    assert np.argsort(-scores[4])[1] in (1, 4)  # tea pot or green cup
    assert scores[4][[2, 3]].tolist() == [0, 0]


def test_ials_finds_who_shops_together(given: Field) -> None:
    lists = rival_lists(given, ("iALS",), k=1)["iALS"]
    assert lists[3, 0] == 3  # kim has 2; eve has 2 and 3
    assert lists[4, 0] == 1  # lee has 0; ann and bob have 0 and 1


def test_sasrec_learns_who_comes_after_whom(log_of: Callable[..., Interactions]) -> None:
    """Everybody walks a circle of eight, of which five places are behind them: three are left."""
    rng = np.random.default_rng(0)
    walks = [[(start + i) % 8 for i in range(5)] for start in rng.integers(8, size=60)]
    log = log_of({f"u{n}": walk for n, walk in enumerate(walks)}, 8)
    scores = train_sasrec(log, seed=1)(np.arange(60))
    scores[log.matrix.toarray() > 0] = -np.inf
    after = np.array([(walk[-1] + 1) % 8 for walk in walks])
    assert (scores.argmax(1) == after).mean() > 0.9


def test_even_scores_are_not_ranked_by_the_order_of_the_file(given: Field) -> None:
    nothing = rank_all(lambda part: np.zeros((part.stop - part.start, 5)), given, 3)
    assert nothing[3].tolist() != [0, 1, 3]


def test_a_source_alone_lists_the_best_of_what_the_user_has_not_had(shop: Recommender) -> None:
    """By brute force over all pairs, where scores differ."""
    channels, users = shop.bundle.channels, np.arange(40)
    scorers = channels.scorers(ask(channels, users))
    found = source_lists(channels, users, k=5)
    assert set(found) == set(CHANNELS)
    count = channels.log.n_items
    for name in ("together", "meaning"):
        pairs = scorers[name].pairs(np.repeat(users, count), np.tile(np.arange(count), len(users)))
        scores = pairs.reshape(len(users), count)
        scores[channels.log.matrix[users].toarray() > 0] = -np.inf
        best = -np.sort(-scores, axis=1)[:, :5]
        listed = np.take_along_axis(scores, np.maximum(found[name], 0), 1)
        there = found[name] >= 0
        assert listed[there] == pytest.approx(best[there], abs=1e-5)
        assert (best[~there] <= 0).all()


def test_the_benchmark_puts_every_rival_and_source_beside_the_recommender(
    shop_files: tuple[Path, Path],
    tiny_encoder: Path,
    tmp_path: Path,
    quick_settings: RecommenderSettings,
) -> None:
    found = benchmark_recommender(
        *shop_files,
        home=Home(tmp_path),
        base=str(tiny_encoder),
        threads=1,
        settings=quick_settings,
        rivals=("popular, all time", "item-kNN"),
        say=lambda _: None,
    )
    sources = {f"source {name}" for name in CHANNELS}
    whole = [row for row in found.rows if row.part == "all" and row.measure == "NDCG@10"]
    for data in ("items.csv, last item out", "items.csv, some items hidden"):
        systems = {row.system for row in whole if row.data == data}
        assert systems == {"triptych", "popular, all time", "item-kNN", *sources}
    assert {row.n for row in whole if row.data == "items.csv, last item out"} == {80}
    assert all(row.low <= row.value <= row.high for row in whole if row.low and row.high)
    assert found.notes[0].startswith("items.csv, last item out: NDCG@10 against the best rival, ")
    assert "against the best single source, " in found.notes[1]
    # A customer takes all in a few hours: after no moment has anybody both a past and a future.
    assert "items.csv, cut in time: not measured" in found.notes[3]
    hidden = {r.system: r.value for r in found.rows if r.part == "new items" and "hidden" in r.data}
    assert hidden["source together"] == 0.0  # who shops together tells nothing of what is new
    assert hidden["triptych"] > 0.0
    # Each user has one target: who did not want a new item is judged for what new items cost.
    sizes = {row.part: row.n for row in found.rows if "hidden" in row.data}
    price = [row for row in found.rows if row.part == OTHERS and row.measure == "NDCG@10"]
    assert [(row.system, row.n) for row in price] == [
        (name, sizes["all"] - sizes["new items"]) for name in ("triptych", PLAIN)
    ]
    gain = price[0].value - price[1].value
    assert f"NDCG@10 against {PLAIN}: {gain:+.4f} (95 % interval " in found.notes[-1]


def test_a_split_that_there_is_not_is_refused(
    shop_files: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        run_benchmark(
            "recommender", datasets=tmp_path, items=shop_files[0], events=shop_files[1],
            seeds=(1,), home=Home(tmp_path), say=lambda _: None, only=("random",),
        )  # fmt: skip
    assert str(caught.value) == "--only random: expected one of last, time, hidden, month"
