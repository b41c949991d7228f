"""A version trained on other rows says what it forgot of the live one; slips are mended."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apps.chatbot.bot import Bot
from apps.chatbot.recipe import ChatbotRecipe
from apps.news_monitor.recipe import NewsRecipe
from apps.recommender.recipe import RecommenderRecipe
from apps.recommender.settings import RecommenderSettings
from pipelines.train import Recipe, Trained, earlier, train
from shared.evaluation.forgetting import FILE
from shared.evaluation.model_card import CARD
from shared.evaluation.report import Report
from shared.inference.spelling import FILE as SPELLING
from shared.registry import MANIFEST, Registry
from shared.settings import Home
from shared.training.options import TrainOptions

Run = Callable[..., "subprocess.CompletedProcess[str]"]
INTENTS = {
    "cancel": ("cancel", "order"),
    "refund": ("money", "refund"),
    "arrive": ("when", "arrive"),
    "pay": ("pay", "card"),
}
FILLER = "the a my is was please help hello how will it red blue tea cup shoe bank news".split()


def questions(rows: int, seed: int) -> pd.DataFrame:
    """Each question holds the words of its intent among random ones; no two alike."""
    rng = np.random.default_rng(seed)
    found: dict[str, str] = {}
    while len(found) < rows:
        label = list(INTENTS)[len(found) % len(INTENTS)]
        words = [*rng.choice(FILLER, 5, replace=False), *INTENTS[label]]
        rng.shuffle(words)
        found.setdefault(" ".join(words), label)
    return pd.DataFrame(found.items(), columns=["text", "label"])


def now() -> datetime:
    return datetime(2026, 3, 2, tzinfo=UTC)


def trained(recipe: Recipe, home: Home, encoder: Path, said: list[str]) -> Trained:
    options = TrainOptions(method="frozen", base=str(encoder), threads=1)
    return train(recipe, name="desk", options=options, home=home, clock=now, say=said.append)


def test_a_withheld_label_is_named_in_the_report_the_card_and_at_the_end_of_training(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    home, said = Home(tmp_path / "home"), list[str]()
    whole = questions(240, seed=1)
    whole.to_csv(tmp_path / "first.csv", index=False)
    # The next catalogue: other questions, none about refunds, a third of the old ones.
    later = pd.concat([questions(240, seed=2), whole[: len(whole) // 3]])
    later = later[later["label"] != "refund"]
    later.to_csv(tmp_path / "second.csv", index=False)
    first = trained(ChatbotRecipe([tmp_path / "first.csv"]), home, tiny_encoder, [])
    assert not [t for t in first.report.side_by_side if "forgot" in t.title]
    second = trained(ChatbotRecipe([tmp_path / "second.csv"]), home, tiny_encoder, said)
    (table,) = (t for t in second.report.side_by_side if "forgot" in t.title)
    assert table.title == "What it forgot of desk@1: intent"
    figures = {figure.part: figure for figure in table.figures}
    held = json.loads((first.version.path / FILE).read_text())
    assert figures["all rows"].n == len(held) == 36
    assert figures["refund"].n == 9
    assert figures["refund"].before > 0.9
    assert figures["refund"].after == 0
    assert figures["refund"].worse < 0.01
    assert min(figures[name].after for name in ("cancel", "arrive", "pay")) > 0.9
    assert "no longer knows refund" in table.line
    assert table.line in said
    kept = Report.from_json((second.version.path / "report.json").read_text())
    assert table in kept.side_by_side
    assert table.title in (second.version.path / "report.html").read_text()
    card = (second.version.path / CARD).read_text()
    assert f"## {table.title}" in card
    assert "| refund | 9 | 1.000 | 0.000 |" in card
    assert "| pay | 9 |" not in card  # nothing to tell of it


def test_headlines_are_compared_head_by_head_and_an_equal_version_forgot_nothing(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    rows = [(f"{thing} {word} {n}", label) for word, label in
            (("loss", "negative"), ("profit", "positive"), ("news", "neutral"))
            for thing in ("bank", "shoe", "tea", "cup") for n in "abcdefghi"]  # fmt: skip
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(tmp_path / "s.csv", index=False)
    recipe = NewsRecipe([tmp_path / "s.csv"])
    trained(recipe, home, tiny_encoder, [])
    (table,) = trained(recipe, home, tiny_encoder, []).report.side_by_side
    assert table.title == "What it forgot of desk@1: sentiment"
    assert table.line.endswith("; nothing forgotten beyond noise")
    assert table.figures[0].before == table.figures[0].after


def test_a_recommender_is_compared_on_the_users_that_both_versions_held_out(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(12)], "title": ["red tea cup"] * 12})
    items.to_csv(tmp_path / "items.csv", index=False)
    rows = [(f"u{u}", f"i{(u + step) % 12}", f"2024-01-{1 + step:02d}") for u in range(60)
            for step in range(4)]  # fmt: skip
    events = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    events.to_csv(tmp_path / "events.csv", index=False)
    settings = RecommenderSettings(held_out="last")
    small = settings.sequence.model_copy(
        update={"dimensions": 8, "hidden": 8, "epochs": 1, "least_steps": 0}
    )
    recipe = RecommenderRecipe(
        tmp_path / "items.csv",
        tmp_path / "events.csv",
        settings=settings.model_copy(update={"sequence": small}),
    )
    assert trained(recipe, home, tiny_encoder, []).report.side_by_side == ()
    (table,) = trained(recipe, home, tiny_encoder, []).report.side_by_side
    assert table.title.startswith("What it forgot of desk@1: ")
    assert table.figures[0].n > 0
    assert table.figures[0].before == pytest.approx(table.figures[0].after, abs=1e-6)


def test_a_base_that_is_a_versions_own_encoder_makes_that_version_an_earlier_one(
    tmp_path: Path,
) -> None:
    registry = Registry(tmp_path / "models", now)
    for name in ("other", "desk"):
        folder = tmp_path / "made" / name / "encoder"
        folder.mkdir(parents=True)
        (folder / "weights.txt").write_text(name)
        registry.publish(name, folder.parent, app="chatbot", metrics={})
    base = registry.resolve("other").path / "encoder"
    assert (base.parent / MANIFEST).is_file()
    said: list[str] = []
    found = earlier(registry, "desk", "chatbot", str(base), said.append)
    assert [version.reference for version in found] == ["desk@1", "other@1"]
    found = earlier(registry, "new", "chatbot", str(base), said.append)
    assert [version.reference for version in found] == ["other@1"]
    found = earlier(registry, "other", "chatbot", str(base), said.append)
    assert [version.reference for version in found] == ["other@1"]
    assert earlier(registry, "new", "news", str(base), said.append) == ()
    assert earlier(registry, "new", "chatbot", "minilm", said.append) == ()
    assert said == []
    # Training again is what a damaged version needs: it must not stop on it.
    (registry.resolve("desk").path / "encoder" / "weights.txt").write_text("bitten")
    assert earlier(registry, "desk", "chatbot", "minilm", said.append) == ()
    assert said[0].startswith("what is forgotten of desk is not measured: desk@1 is damaged: ")


def short_words(rows: int, seed: int) -> pd.DataFrame:
    """Each question holds one of ten words of its intent, of four letters, and two of many that
    say nothing: after a slip in the first there is little left to go by."""
    made = np.random.default_rng(4)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = ["".join(word) for word in made.choice(letters, (40, 4))]
    others = ["".join(word) for word in made.choice(letters, (150, 4))]
    rng = np.random.default_rng(seed)
    found = []
    for n in range(rows):
        chosen = [words[10 * (n % 4) + n // 4 % 10], *rng.choice(others, 2)]
        rng.shuffle(chosen)
        found.append((" ".join(chosen), f"intent{n % 4}"))
    return pd.DataFrame(found, columns=["text", "label"])


def test_a_bot_mends_words_where_that_helped_and_says_before_and_after(
    triptych_here: Run, tiny_encoder: Path, tmp_path: Path
) -> None:
    short_words(400, seed=1).to_csv(tmp_path / "q.csv", index=False)
    done = triptych_here(
        "train", "chatbot", "--examples", tmp_path / "q.csv", "--name", "bot", "--augment",
        "--base", tiny_encoder, "--method", "frozen", "--threads", "1", home=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    home = Home(tmp_path)
    version = Registry(home.models, now).resolve("bot")
    report = Report.from_json((version.path / "report.json").read_text())
    tried = [note for note in report.notes if "on rows cut off the training rows" in note]
    assert [note.split(", ")[1] for note in tried] == [
        "mending words", "learning from altered copies",
    ]  # fmt: skip
    assert tried[0].endswith(": kept")
    (table,) = report.side_by_side
    assert table.line in done.stdout
    clean, taught, untaught = table.figures
    assert clean.n == 60
    assert clean.after == clean.before
    assert taught.better < 0.05
    assert untaught.after > untaught.before
    bot = Bot.load(version.path, home=home, threads=1)
    (word, *_) = short_words(1, seed=1)["text"][0].split()
    slipped = word[1] + word[0] + word[2:]
    assert bot.read([f"{slipped.upper()} 42"]) == [f"{word} 42"]
    mended, plain = bot.reply([slipped, word])
    assert mended.ranking == plain.ranking
    assert mended.why == f"{plain.why}; read as “{word}”"
    (version.path / SPELLING).unlink()
    assert Bot.load(version.path, home=home, threads=1).read([slipped]) == [slipped]
