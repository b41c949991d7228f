"""The sample shop is what its card says, and can be made again to the byte."""

import gzip
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"
FOLDER = SAMPLES / "recommender"


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_rec", SAMPLES / "make_recommender.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclass looks its module up by name while the class is made
    sys.modules["make_rec"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def items() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "items.csv", keep_default_na=False)


@pytest.fixture(scope="module")
def events() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "events.csv.gz", keep_default_na=False, parse_dates=["timestamp"])


def test_making_it_again_gives_the_same_rows(tmp_path: Path) -> None:
    maker().make(tmp_path)
    assert (tmp_path / "items.csv").read_bytes() == (FOLDER / "items.csv").read_bytes()
    again = gzip.decompress((tmp_path / "events.csv.gz").read_bytes())
    assert again == gzip.decompress((FOLDER / "events.csv.gz").read_bytes())


def test_the_catalogue_is_as_large_and_as_complete_as_the_card_says(items: pd.DataFrame) -> None:
    assert len(items) == 885
    assert items["item_id"].is_unique
    assert items["title"].str.len().min() > 5
    assert (items["price"].astype(float) > 0).all()
    assert 0.02 < (items["description"] == "").mean() < 0.15
    assert items["categories"].nunique() >= 30


def test_the_behaviour_is_as_large_as_the_card_says(events: pd.DataFrame) -> None:
    assert len(events) == 58_316
    people = events[~events["user_id"].str.startswith("crawler-")]
    assert people["user_id"].nunique() == 1_400
    assert set(events["event"]) == {"view", "click", "cart", "buy", "comment", "share"}
    assert (events["timestamp"].max() - events["timestamp"].min()).days <= 240
    assert events["timestamp"].is_monotonic_increasing


def test_the_log_has_the_faults_of_a_real_one(items: pd.DataFrame, events: pd.DataFrame) -> None:
    assert events.duplicated().any()
    assert (~events["item_id"].isin(items["item_id"])).mean() == pytest.approx(1 / 300, rel=0.3)
    views = events[events["user_id"].str.startswith("crawler-")].groupby("user_id").size()
    assert (views >= 180).all()


def test_what_people_want_can_be_learned(items: pd.DataFrame, events: pd.DataFrame) -> None:
    """The theme bought most before a purchase is that of the purchase far above chance."""
    theme = dict(zip(items["item_id"], items["tags"].str.split("|").str[0], strict=True))
    bought = events[events["event"] == "buy"].assign(theme=lambda f: f["item_id"].map(theme))
    bought = bought.dropna(subset="theme").sort_values("timestamp", kind="stable")
    hits = [
        group["theme"].iloc[:-1].mode()[0] == group["theme"].iloc[-1]
        for _, group in bought.groupby("user_id")
        if len(group) >= 4
    ]
    assert sum(hits) / len(hits) > 5 / len(set(theme.values()))
