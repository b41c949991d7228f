"""Two recommenders for the same users: targets neither knows, lists by each, must-pass items."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apps.recommender.comparison import TASK, cases, compare, race
from apps.recommender.recipe import RecommenderRecipe
from apps.recommender.recommender import Recommender
from apps.recommender.settings import RecommenderSettings
from shared.errors import DataError
from shared.evaluation.gate import GateLimits, judge
from shared.evaluation.metrics import ndcg_at
from shared.evaluation.outcomes import load_outcomes
from shared.evaluation.report import Report
from shared.settings import Home
from shared.training.options import TrainOptions


def silent(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def confused(
    shop_files: tuple[Path, Path], tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model of the same shop that learned from events on random items."""
    work = tmp_path_factory.mktemp("confused")
    events = pd.read_csv(shop_files[1])
    rng = np.random.default_rng(0)
    events["item_id"] = rng.permutation(events["item_id"].to_numpy())
    events.to_csv(work / "events.csv", index=False)
    settings = RecommenderSettings(held_out="last")
    quick = settings.sequence.model_copy(
        update={"dimensions": 16, "hidden": 16, "epochs": 1, "least_steps": 0}
    )
    RecommenderRecipe(
        shop_files[0], work / "events.csv", settings=settings.model_copy(update={"sequence": quick})
    ).fit(
        work / "model",
        options=TrainOptions(method="frozen", base=str(tiny_encoder), threads=1),
        home=Home(work),
        say=silent,
    )
    return work / "model"


@pytest.fixture
def later(shop: Recommender, tmp_path: Path) -> Path:
    """Each customer takes the next item of the shelf, and one he has had before."""
    rows = []
    for user in shop.users:
        had = shop.history(user)["item_id"].tolist()
        name, number = had[0].rstrip("0123456789"), int(had[0].lstrip("abcdefghijklmnopqrstuvwxyz"))
        rows += [(user, f"{name}{(number + 1) % 8}"), (user, had[-1])]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id"]).assign(
        timestamp="2024-06-01T00:00:00Z", event="buy"
    )
    frame.to_csv(tmp_path / "later.csv", index=False)
    return tmp_path / "later.csv"


def test_a_model_that_learned_nothing_is_blocked(
    trained: tuple[Path, Report], shop: Recommender, confused: Path, later: Path
) -> None:
    contest = compare(confused, trained[0], later, {}, Home(confused), say=silent)
    verdict = judge(contest.pairs(), GateLimits())
    assert TASK in {check.name for check in verdict.blocking}
    (theirs,) = contest.production
    user = theirs.shown[5]
    listed = shop.recommend([user], 10)["item_id"].tolist()
    assert theirs.decisions[5] == " ".join(listed)
    number = int(shop.history(user)["item_id"].iloc[0].lstrip("abcdefghijklmnopqrstuvwxyz"))
    shelf = shop.history(user)["item_id"].iloc[0].rstrip("0123456789")
    hit = np.array([[item == f"{shelf}{(number + 1) % 8}" for item in listed]])
    assert theirs.scores[5] == pytest.approx(ndcg_at(hit, [1], 10)[0])


def test_a_model_against_itself_passes_and_changes_nothing(
    trained: tuple[Path, Report], later: Path
) -> None:
    contest = compare(trained[0], trained[0], later, {}, Home(trained[0]), say=silent)
    assert contest.changes() == ()
    assert judge(contest.pairs(), GateLimits()).passed


def test_events_that_either_knows_are_no_targets(
    trained: tuple[Path, Report], confused: Path, shop_files: tuple[Path, Path]
) -> None:
    with pytest.raises(DataError, match="already in a log that one of the two versions"):
        compare(confused, trained[0], shop_files[1], {}, Home(confused), say=silent)


def test_two_recommenders_are_timed_on_users_that_both_know(
    trained: tuple[Path, Report], shop: Recommender, confused: Path
) -> None:
    both = race(confused, trained[0], Home(confused))
    assert both.asked == shop.users
    other = Recommender.load(confused, home=Home(confused))
    for serve, recommender in zip(both.serve, (other, shop), strict=True):
        lists = serve(both.asked[:3])
        assert isinstance(lists, pd.DataFrame)
        pd.testing.assert_frame_equal(lists, recommender.recommend(both.asked[:3], 10))


def test_must_pass_items_are_looked_for_in_the_first_ten(
    trained: tuple[Path, Report], shop: Recommender, tmp_path: Path
) -> None:
    user = shop.users[0]
    listed = shop.recommend([user], 10)["item_id"].tolist()
    had = shop.history(user)["item_id"].iloc[0]
    table = tmp_path / "must.csv"
    table.write_text(f"user_id,item_id\n{user},{listed[-1]}\n{user},{had}\n")
    found = cases(trained[0], table, Home(tmp_path), say=silent)
    assert [case.passed for case in found] == [True, False]


def test_held_out_outcomes_are_those_of_the_report(trained: tuple[Path, Report]) -> None:
    (kept,) = load_outcomes(trained[0])
    figure = next(m for m in trained[1].measures if m.name == TASK)
    assert figure.value == pytest.approx(kept.scores.mean(), abs=1e-5)
    assert figure.n == len(kept)
