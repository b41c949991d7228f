"""What loses to a rival that learns next to nothing is not published."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from apps.recommender import judging
from apps.recommender.quality import DEPTH, Judged, Targets, judge
from apps.recommender.recipe import REFUSED, RecommenderRecipe
from apps.recommender.settings import RecommenderSettings
from pipelines.train import train
from shared.errors import DataError
from shared.registry import Registry
from shared.settings import Home
from shared.training.options import TrainOptions

PROPHET = "prophet"


def clock() -> datetime:
    return datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def prophet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rival that lists what each user took: no data is so bad that another one is sure to win."""

    def know_all(_held: object, targets: Targets, *_: object) -> dict[str, Judged]:
        lists = np.full((len(targets), DEPTH), -1, np.int64)
        for row in range(len(targets)):
            taken = targets.wanted[row].indices[:DEPTH]
            lists[row, : len(taken)] = taken
        return {PROPHET: judge(lists, targets)}

    monkeypatch.setattr(judging, "judged_rivals", know_all)


@pytest.mark.usefixtures("prophet")
def test_a_recommender_that_loses_stays_out_and_its_report_is_kept(
    shop_files: tuple[Path, Path],
    tiny_encoder: Path,
    tmp_path: Path,
    quick_settings: RecommenderSettings,
) -> None:
    home = Home(tmp_path)
    options = TrainOptions(method="frozen", base=str(tiny_encoder), threads=1)

    def run(*, even_if_worse: bool) -> str:
        recipe = RecommenderRecipe(
            *shop_files, settings=quick_settings, even_if_worse=even_if_worse
        )
        done = train(
            recipe, name="shop", options=options, home=home, clock=clock, say=lambda _: None
        )
        return done.version.reference

    with pytest.raises(DataError) as caught:
        run(even_if_worse=False)
    said = str(caught.value)
    assert said.startswith(
        "not published: a rival that learns next to nothing serves these users better; NDCG@10 "
        f"against the best rival, {PROPHET}: -"
    )
    page = home.reports / REFUSED / "report.html"
    assert f": worse ({page}). " in said
    assert said.endswith("--even-if-worse publishes it all the same")
    assert PROPHET in page.read_text()
    assert Registry(home.models, clock).names() == []
    assert not list((tmp_path / "work").iterdir())
    assert run(even_if_worse=True) == "shop@1"
