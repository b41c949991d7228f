"""The catalogue on a plane: like lies near like, all items have a place, words find them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from streamlit.testing.v1 import AppTest

from apps.recommender import catalogue_map
from apps.recommender.catalogue_map import COLUMNS, found_by, plane
from apps.recommender.recommender import Recommender
from shared.settings import Home

PAGE = Path(__file__).parents[3] / "apps" / "recommender" / "catalogue_map_page.py"


def clusters(each: int) -> NDArray[np.float32]:
    """Three bundles of unit vectors, far from each other."""
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(3, 8), each, axis=0) + 0.05 * rng.normal(size=(3 * each, 8))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(unit, np.float32)


def nearest_is_alike(place: NDArray[np.float64], each: int) -> float:
    """Share of items whose nearest one on the plane is of their bundle."""
    apart = ((place[:, None] - place[None]) ** 2).sum(-1)
    np.fill_diagonal(apart, np.inf)
    return float((apart.argmin(1) // each == np.arange(len(place)) // each).mean())


def test_what_is_alike_lies_together_and_the_same_each_time() -> None:
    vectors = clusters(20)
    place = plane(vectors)
    assert nearest_is_alike(place, 20) == 1.0
    assert plane(vectors) == pytest.approx(place)


def test_a_large_catalogue_is_laid_out_by_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_map, "LAID_OUT", 30)
    place = plane(clusters(30))
    assert place.shape == (90, 2)
    assert nearest_is_alike(place, 30) == 1.0


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_handful_of_items_has_places_too(count: int) -> None:
    place = plane(clusters(4)[:count])
    assert place.shape == (count, 2)
    assert np.isfinite(place).all()


def test_words_find_items_by_title_id_and_category_in_any_case() -> None:
    frame = pd.DataFrame(
        [(0, 0, "LL-1", "Green tea", "Drinks", 1), (0, 0, "LL-2", "Cup", "Tea", 1)],
        columns=list(COLUMNS),
    )
    assert found_by(frame, "TEA").tolist() == [True, True]
    assert found_by(frame, "green ll-1").tolist() == [True, False]
    assert found_by(frame, "  ").tolist() == [False, False]


def test_the_page_finds_an_item_and_shows_what_is_like_it(
    published: Home, shop: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(published.root))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    assert page.caption[0].value.startswith("33 items; near means like in meaning")
    page.text_input[0].set_value("porcelain").run()
    assert not page.exception
    assert page.caption[0].value.endswith("; 1 found")
    assert page.selectbox[0].options == ["green tea cup porcelain (cold)"]
    near = page.dataframe[0].value
    assert near["item_id"].tolist() == shop.similar("cold", 10)["item_id"].tolist()
