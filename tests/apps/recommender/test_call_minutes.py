"""The minutes of the whole command are shared out among the trainings of a recommender."""

import time
from pathlib import Path
from typing import Any

import pytest

from apps.recommender.fitting import part
from apps.recommender.recipe import RecommenderRecipe, embed
from apps.recommender.settings import EncoderSettings, RecommenderSettings
from shared.settings import Home
from shared.training.budget import CallBudget, Share
from shared.training.options import TrainOptions


class ReachedError(Exception):
    """Stands for a training, once it is known what it was given."""


def stopped(monkeypatch: pytest.MonkeyPatch, target: str) -> dict[str, Any]:
    """What the training of this name is given, which does not begin."""
    given: dict[str, Any] = {}

    def reached(*_: object, **named: object) -> None:
        given.update(named)
        raise ReachedError

    monkeypatch.setattr(target, reached)
    return given


@pytest.mark.parametrize(
    ("options", "share"),
    [
        (TrainOptions(call_minutes=10.0), Share(0.5 * (600 - 200))),
        (TrainOptions(call_minutes=10.0, minutes=1.0), Share(60.0)),
        (TrainOptions(call_minutes=2.0), Share(0.0)),
        (TrainOptions(minutes=1.0), None),
    ],
)
def test_fine_tuning_on_pairs_gets_a_part_of_what_is_left(
    shop_files: tuple[Path, Path],
    tiny_encoder: Path,
    tmp_path: Path,
    quick_settings: RecommenderSettings,
    monkeypatch: pytest.MonkeyPatch,
    options: TrainOptions,
    share: Share | None,
) -> None:
    """200 seconds after the command began."""
    given = stopped(monkeypatch, "apps.recommender.behaviour.finetune_matcher")
    settings = quick_settings.model_copy(update={"encoder": EncoderSettings(pairs=60)})
    catalog, log = RecommenderRecipe(*shop_files).read(settings, 3, lambda _: None)
    budget = CallBudget.of(options, lambda: 1000.0)
    later = CallBudget(budget.seconds, budget.tuning, budget.began, lambda: 1200.0)
    said: list[str] = []
    with pytest.raises(ReachedError):
        embed(
            catalog,
            part(log, settings, 3),
            settings,
            TrainOptions(method="full", base=str(tiny_encoder), threads=1),
            tmp_path / "model",
            Home(tmp_path),
            said.append,
            later,
        )
    assert given["share"] == share
    assert ("3.3 of 10 minutes are for fine-tuning on pairs" in said) == (share == Share(200.0))


@pytest.mark.parametrize(
    ("options", "budget"),
    [
        ({"call_minutes": 60.0, "began": -600.0}, 0.4 * (3600 - 600)),
        ({"call_minutes": 60.0, "minutes": 1.0, "began": 0.0}, 0.4 * 3600),
        ({"call_minutes": 5.0, "began": -600.0}, 10.0),
        ({"minutes": 60.0}, 0.4 * 3600),
        ({}, None),
    ],
)
def test_the_held_out_models_get_a_part_of_what_is_left_then(
    shop_files: tuple[Path, Path],
    tiny_encoder: Path,
    tmp_path: Path,
    quick_settings: RecommenderSettings,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    budget: float | None,
) -> None:
    """began: seconds from now. Reading and encoding take their own time, a few of these seconds."""
    given = stopped(monkeypatch, "apps.recommender.recipe.fit_held_out")
    if "began" in options:
        options = options | {"began": time.monotonic() + options["began"]}
    recipe = RecommenderRecipe(*shop_files, settings=quick_settings)
    asked = TrainOptions(method="frozen", base=str(tiny_encoder), threads=1, **options)
    with pytest.raises(ReachedError):
        recipe.fit(tmp_path / "m", options=asked, home=Home(tmp_path), say=lambda _: None)
    if budget is None or budget == 10.0:
        assert given["budget"] == budget
    else:
        assert 0.9 * budget < given["budget"] <= budget
