"""Training with everything after one moment held out, as a shop lives."""

from pathlib import Path

import pandas as pd
import pytest

from apps.recommender.recipe import RecommenderRecipe
from apps.recommender.recommender import Recommender
from apps.recommender.settings import RecommenderSettings, RuleSettings
from shared.settings import Home
from shared.training.options import TrainOptions


@pytest.mark.parametrize("days_between", [0, 15])
def test_a_cut_in_time_trains_reports_and_serves(
    days_between: int,
    shop_files: tuple[Path, Path],
    tiny_encoder: Path,
    tmp_path: Path,
    quick_settings: RecommenderSettings,
) -> None:
    """With no days between a customer's visits almost nobody has both a past and a future."""
    events = pd.read_csv(shop_files[1])
    visit = events.groupby("user_id").cumcount()
    times = pd.to_datetime(events["timestamp"]) + pd.to_timedelta(visit * days_between, unit="D")
    log = tmp_path / "events.csv"
    events.assign(timestamp=times).to_csv(log, index=False)
    recipe = RecommenderRecipe(
        shop_files[0], log, settings=quick_settings.model_copy(update={"held_out": "time"})
    )
    said: list[str] = []
    folder = tmp_path / "model"
    options = TrainOptions(method="frozen", base=str(tiny_encoder), threads=1)
    report = recipe.fit(folder, options=options, home=Home(tmp_path), say=said.append)
    assert "pairs after one moment in time" in report.data
    assert not any("leave-last-out" in note for note in report.notes)
    assert "popular, last 7 days" in {b.name for b in report.baselines}
    recommender = Recommender.load(folder, home=Home(tmp_path), threads=1, rules=RuleSettings())
    listed = recommender.recommend(["customer001", "stranger"], 5)
    assert len(listed) == 10
