"""Every published version of each application carries a card with the figures of its report."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from apps.chatbot.recipe import ChatbotRecipe
from apps.news_monitor.recipe import NewsRecipe
from apps.recommender.recipe import RecommenderRecipe
from apps.recommender.settings import RecommenderSettings
from pipelines.train import Recipe, train
from shared.evaluation.model_card import CARD
from shared.registry import Registry
from shared.settings import Home
from shared.training.options import TrainOptions


def now() -> datetime:
    return datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def chatbot(folder: Path) -> Recipe:
    rows = [(f"{word} my {thing} {n}", word) for word in ("cancel", "pay") for thing in
            ("order", "card", "cup", "shoe") for n in range(6)]  # fmt: skip
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(folder / "questions.csv", index=False)
    return ChatbotRecipe([folder / "questions.csv"])


def news(folder: Path) -> Recipe:
    rows = [(f"{thing} {word} {n}", label) for word, label in
            (("loss", "negative"), ("profit", "positive"), ("news", "neutral"))
            for thing in ("bank", "shoe", "tea", "cup") for n in range(6)]  # fmt: skip
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(folder / "sentiment.csv", index=False)
    return NewsRecipe([folder / "sentiment.csv"])


def recommender(folder: Path) -> Recipe:
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(12)], "title": ["red tea cup"] * 12})
    items.to_csv(folder / "items.csv", index=False)
    rows = [(f"u{u}", f"i{(u + step) % 12}", f"2024-01-{1 + step:02d}") for u in range(60)
            for step in range(4)]  # fmt: skip
    events = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    events.to_csv(folder / "events.csv", index=False)
    settings = RecommenderSettings(held_out="last")
    small = settings.sequence.model_copy(
        update={"dimensions": 8, "hidden": 8, "epochs": 1, "least_steps": 0}
    )
    return RecommenderRecipe(
        folder / "items.csv",
        folder / "events.csv",
        settings=settings.model_copy(update={"sequence": small}),
    )


@pytest.mark.parametrize("make", [chatbot, news, recommender])
def test_a_published_version_has_a_card_with_its_figures(
    make: Callable[[Path], Recipe], tiny_encoder: Path, tmp_path: Path
) -> None:
    recipe = make(tmp_path)
    home = Home(tmp_path / "home")
    trained = train(
        recipe,
        name="mine",
        options=TrainOptions(method="frozen", base=str(tiny_encoder), threads=1),
        home=home,
        clock=now,
        say=lambda _: None,
    )
    card = (trained.version.path / CARD).read_text(encoding="utf-8")
    assert card.startswith("# mine@1\n")
    assert f"| application | {recipe.app} |" in card
    assert "2026-03-02 09:30 UTC" in card
    for measure in trained.report.measures:
        if measure.value is not None:
            assert f"| {measure.name} | {measure.value:.3f}" in card
    for _, path in recipe.sources:
        assert f"| {path.name} |" in card
    assert recipe.purpose.use in card
    # The card is one of the verified files.
    assert Registry(home.models, now).resolve("mine").version == 1
