"""A tiny invented shop whose structure is known because it was put there.

Four shelves of eight items; a customer stays on one shelf and takes its items in a circle, each
followed by the next one. `cold` lies on the tea shelf by its words and nobody has taken it.
"""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apps.recommender.interactions import Interactions
from apps.recommender.recipe import RecommenderRecipe
from apps.recommender.recommender import Recommender
from apps.recommender.settings import (
    RankingSettings,
    RecommenderSettings,
    RuleSettings,
    SequenceSettings,
)
from shared.evaluation.report import Report
from shared.registry import Registry
from shared.settings import Home
from shared.training.options import TrainOptions

SHELVES = {
    "tea": "green tea cup",
    "shoe": "red shoe lace",
    "bank": "bank card money",
    "news": "good news shares",
}
PER_SHELF = 8
CUSTOMERS = 160
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def shop_items() -> pd.DataFrame:
    rows = [
        {
            "item_id": f"{shelf}{number}",
            "title": f"{words} number{number}",
            "categories": shelf,
            "price": 10.0 + number,
        }
        for shelf, words in SHELVES.items()
        for number in range(PER_SHELF)
    ]
    rows.append(
        {"item_id": "cold", "title": "green tea cup porcelain", "categories": "tea", "price": 12.0}
    )
    return pd.DataFrame(rows)


def shop_events() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    rows = []
    for customer in range(CUSTOMERS):
        shelf = list(SHELVES)[customer % len(SHELVES)]
        start, count = int(rng.integers(PER_SHELF)), int(rng.integers(3, 6))
        day = FIRST_DAY + timedelta(days=int(rng.integers(60)))
        for step in range(count):
            rows.append(
                {
                    "user_id": f"customer{customer:03d}",
                    "item_id": f"{shelf}{(start + step) % PER_SHELF}",
                    "timestamp": (day + timedelta(hours=step)).isoformat(),
                    "event": "buy",
                }
            )
    return pd.DataFrame(rows)


def habit_events() -> pd.DataFrame:
    """The shop's customers over 240 days: every 40 days, each from another day on, the next item
    of the shelf and, again and again, the last one of it. Some have stopped by then."""
    rng = np.random.default_rng(5)
    rows = []
    for customer in range(CUSTOMERS):
        shelf = list(SHELVES)[customer % len(SHELVES)]
        start, first = int(rng.integers(PER_SHELF - 1)), float(rng.uniform(0, 40))
        for visit in range(6):
            day = FIRST_DAY + timedelta(days=first + 40 * visit + float(rng.normal(0, 2)))
            step = (start + visit) % (PER_SHELF - 1)
            rows += [
                {
                    "user_id": f"customer{customer:03d}",
                    "item_id": f"{shelf}{number}",
                    "timestamp": (day + timedelta(minutes=place)).isoformat(),
                    "event": "buy",
                }
                for place, number in enumerate((PER_SHELF - 1, step))
                if day < FIRST_DAY + timedelta(days=200)
            ]
    return pd.DataFrame(rows)


def shop_settings() -> RecommenderSettings:
    return RecommenderSettings(
        held_out="last",
        sequence=SequenceSettings(
            dimensions=16, hidden=16, epochs=30, least_steps=0, batch_size=32, negatives=32,
            learning_rate=3e-3, dropout=0.0,
        ),
        ranking=RankingSettings(candidates=20, shrink=1.0, rounds=20),
    )  # fmt: skip


@pytest.fixture(scope="session")
def shop_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("shop")
    items, events = folder / "items.csv", folder / "events.csv"
    shop_items().to_csv(items, index=False)
    shop_events().to_csv(events, index=False)
    return items, events


@pytest.fixture(scope="session")
def trained(
    shop_files: tuple[Path, Path],
    tiny_encoder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Report]:
    """The shop's model folder and its report."""
    home = tmp_path_factory.mktemp("home")
    folder = tmp_path_factory.mktemp("model")
    recipe = RecommenderRecipe(*shop_files, settings=shop_settings())
    options = TrainOptions(method="frozen", base=str(tiny_encoder), threads=1)
    report = recipe.fit(folder, options=options, home=Home(home), say=lambda _: None)
    return folder, report


@pytest.fixture(scope="session")
def shop(trained: tuple[Path, Report]) -> Recommender:
    return Recommender.load(trained[0], home=Home(trained[0]), threads=1, rules=RuleSettings())


@pytest.fixture(scope="session")
def habitual(
    shop_files: tuple[Path, Path],
    tiny_encoder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Report]:
    """The model folder and the report of the shop whose customers come back for one item."""
    folder = tmp_path_factory.mktemp("habits")
    events = folder / "events.csv"
    habit_events().to_csv(events, index=False)
    settings = shop_settings()
    sequence = settings.sequence.model_copy(update={"epochs": 10})
    settings = settings.model_copy(update={"held_out": "time", "sequence": sequence})
    recipe = RecommenderRecipe(shop_files[0], events, settings=settings)
    options = TrainOptions(method="frozen", base=str(tiny_encoder), threads=1)
    report = recipe.fit(folder / "model", options=options, home=Home(folder), say=lambda _: None)
    return folder / "model", report


@pytest.fixture
def published(trained: tuple[Path, Report], tmp_path: Path) -> Home:
    """A home with the shop's model released as `shop`."""
    return publish(shutil.copytree(trained[0], tmp_path / "trained"), tmp_path, "shop")


@pytest.fixture
def published_without_texts(trained: tuple[Path, Report], tmp_path: Path) -> Home:
    """A home with a model `untold`, whose catalogue has no text of any item."""
    copy = shutil.copytree(trained[0], tmp_path / "trained")
    items = copy / "items.parquet"
    pd.read_parquet(items).assign(text="").to_parquet(items, index=False)
    return publish(copy, tmp_path, "untold")


def publish(folder: Path, home: Path, name: str) -> Home:
    # A name of its own for each model: a page keeps what it loaded under it.
    registry = Registry(home / "models", lambda: datetime(2024, 1, 1, tzinfo=UTC))
    registry.publish(name, folder, app="recommender", metrics={"NDCG@10": 0.5})
    return Home(home)


@pytest.fixture
def quick_settings() -> RecommenderSettings:
    """The shop's settings with two epochs: for what does not look at quality."""
    settings = shop_settings()
    sequence = settings.sequence.model_copy(update={"epochs": 2})
    return settings.model_copy(update={"sequence": sequence})


@pytest.fixture
def log_of() -> Callable[..., Interactions]:
    """A log from "user: items" in order, day after day."""

    def build(
        sequences: dict[str, list[int]], n_items: int, *, has_clock: bool = False
    ) -> Interactions:
        rows = [
            (user, item, place)
            for user, items in enumerate(sequences.values())
            for place, item in enumerate(items)
        ]
        user, item, place = (np.array(column) for column in zip(*rows, strict=True))
        return Interactions(
            tuple(sequences),
            n_items,
            user.astype(np.int32),
            item.astype(np.int32),
            place.astype(np.int64),
            np.ones(len(rows), np.float32),
            has_clock,
        )

    return build
