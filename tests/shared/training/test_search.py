"""Search over recipes: what is found, what is cut short, the budget, and a kill in a trial."""

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from transformers import TrainerControl

from shared.errors import DataError, SettingsError
from shared.modeling.heads import HeadSpec
from shared.pretrained import PretrainedEncoder
from shared.training.batches import HeadTask
from shared.training.examples import Examples
from shared.training.methods import METHODS
from shared.training.options import Method, TrainOptions
from shared.training.search import FIRST_PRUNED_EPOCH, Rival, Space, search
from shared.training.trials import Budget, Searched, Trial

OPTIONS = TrainOptions(batch_size=16, bf16=False, threads=1, progress=False)


def tone_task() -> HeadTask:
    """Which of two words comes first: no bag of words can tell, so that fine-tuning must pay."""
    rng = random.Random(4)
    rows = 96
    labels = [rng.choice(["red", "blue"]) for _ in range(rows)]
    texts = [f"{a} {'blue' if a == 'red' else 'red'} {rng.choice(['tea', 'cup'])}" for a in labels]
    whole = Examples(tuple(texts), tuple((label,) for label in labels), np.arange(rows))
    spec = HeadSpec("order", "single", ("blue", "red"))
    return HeadTask(spec, whole.take(np.arange(64)), whole.take(np.arange(64, rows)))


def hunt(encoder: Path, folder: Path, budget: Budget, **more: Any) -> Searched:
    base = PretrainedEncoder("tiny", encoder, "", "0" * 64, "none")
    return search(
        [tone_task()], encoder=base, options=OPTIONS, budget=budget, folder=folder, **more
    )


def ticking(seconds: float) -> Any:
    """A clock that runs so far each time it is read."""
    ticks = count()
    return lambda: next(ticks) * seconds


def test_the_methods_as_they_are_come_first_and_the_best_trial_wins(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    done = hunt(
        tiny_encoder,
        tmp_path,
        Budget(minutes=8.0, trial_minutes=2.0),
        methods=(Method.FROZEN, Method.FULL),
        clock=ticking(1.0),
        say=said.append,
    )
    frozen, full, *others = done.trials
    assert frozen.recipe == {"method": "frozen"}
    assert full.recipe["method"] == "full"
    assert full.recipe["learning_rate"] == METHODS[Method.FULL].learning_rate
    assert full.recipe["epochs"] == METHODS[Method.FULL].epochs
    assert others, "the budget holds more than the methods as they are"
    assert {trial.recipe["method"] for trial in others} == {"full"}, "frozen needs one trial"
    values = [trial.value for trial in done.trials if trial.value is not None]
    assert done.best.value == max(values)
    assert len(said) == len(done.trials)
    assert (done.metric, done.rows) == ("macro_f1", 32)
    # Nothing is left but the study: a model of a trial is not the product.
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["study.db"]
    assert not (tmp_path / "trials").exists()


def test_the_budget_is_kept_and_more_minutes_go_on(tiny_encoder: Path, tmp_path: Path) -> None:
    few = hunt(
        tiny_encoder,
        tmp_path,
        Budget(minutes=4.0, trial_minutes=2.0),
        methods=(Method.FROZEN, Method.FULL),
        clock=ticking(1.0),
    )
    assert few.seconds <= 4 * 60
    same = hunt(
        tiny_encoder,
        tmp_path,
        Budget(minutes=few.seconds / 60 + 0.001, trial_minutes=2.0),
        methods=(Method.FROZEN, Method.FULL),
        clock=ticking(1.0),
    )
    assert same.trials == few.trials
    more = hunt(
        tiny_encoder,
        tmp_path,
        Budget(minutes=10.0, trial_minutes=2.0),
        methods=(Method.FROZEN, Method.FULL),
        clock=ticking(1.0),
    )
    assert more.trials[: len(few.trials)] == few.trials
    assert len(more.trials) > len(few.trials)
    recipes = [json.dumps(trial.recipe) for trial in more.trials]
    assert len(set(recipes)) == len(recipes), "a call that goes on proposes nothing again"


def test_more_minutes_go_on_with_the_trial_minutes_that_the_search_began_with(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    said: list[str] = []

    def called(budget: Budget, **more: Any) -> Searched:
        said.clear()
        return hunt(tiny_encoder, tmp_path, budget, clock=ticking(4.0), say=said.append, **more)

    methods = (Method.FROZEN, Method.FULL)
    few = called(Budget(4.0), methods=methods)
    assert few.trial_minutes == 0.5
    assert said[0].startswith("trial 0: ")
    more = called(Budget(7.0), methods=methods)
    assert said[0] == (
        "Going on with the search that is there, of 0.5 minutes a trial; --trial-minutes with "
        "another number begins a new one"
    )
    assert more.trial_minutes == 0.5
    assert more.trials[: len(few.trials)] == few.trials
    assert len(more.trials) > len(few.trials)

    # Of other methods, other minutes a trial, or less time than a trial had: another search.
    assert called(Budget(4.0), methods=(Method.FROZEN,)).trials[0].recipe == {"method": "frozen"}
    assert said[0].startswith("trial 0: ")
    other = called(Budget(3.0, 2.0), methods=methods)
    assert said[0] == (
        "Beginning a new search, of 2 minutes a trial: the one that is there, of 0.5, cannot be "
        "compared with it"
    )
    assert other.trials[0].number == 0
    assert called(Budget(3.0), methods=methods).trials == other.trials  # the one begun last
    short = called(Budget(0.4), methods=methods)
    assert short.trial_minutes == 0.4 / 8
    assert said[0].startswith("Beginning a new search, of 0.05 minutes a trial: the one that is")
    assert called(Budget(7.0, 0.5), methods=methods).trials == more.trials


def test_a_study_from_before_its_minutes_were_noted_is_gone_on_with(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    methods = (Method.FROZEN,)
    first = hunt(tiny_encoder, tmp_path, Budget(8.0), methods=methods, clock=ticking(1.0))
    with closing(sqlite3.connect(tmp_path / "study.db")) as file, file:
        assert file.execute("DELETE FROM study_user_attributes").rowcount == 2
    again = hunt(tiny_encoder, tmp_path, Budget(8.0), methods=methods, clock=ticking(1.0))
    assert again == first
    later = hunt(tiny_encoder, tmp_path, Budget(16.0), methods=methods, clock=ticking(1.0))
    assert later == first


# Slowed down, so that the kill falls into a trial.
JOB = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from shared.training import runs
from shared.training.options import Method
from shared.training.trials import Budget
import test_search
class Slow(runs.EpochLines):
    def on_step_end(self, *args, **kwargs):
        time.sleep(0.1)
runs.EpochLines = Slow
test_search.hunt(Path(sys.argv[2]), Path(sys.argv[3]), Budget(0.3, 0.3), methods=(Method.FULL,))
"""


@pytest.fixture(scope="module")
def killed(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search that was killed after two epochs of its first trial."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-c", JOB, str(Path(__file__).parent)]
    process = subprocess.Popen([*command, str(tiny_encoder), str(folder)])
    try:
        while not list(folder.glob("trials/*.training/checkpoint-8/manifest.json")):
            assert process.poll() is None, "the search ended before it could be killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return folder


def test_a_killed_search_takes_up_the_trial_it_was_in(
    killed: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    said: list[str] = []
    budget = Budget(minutes=0.3, trial_minutes=0.3)
    done = hunt(tiny_encoder, tmp_path, budget, methods=(Method.FULL,), say=said.append)
    assert said[:2] == [
        "Going on with the search that is there, of 0.3 minutes a trial; --trial-minutes with "
        "another number begins a new one",
        "Trial 0 was cut off: it is taken up again",
    ]
    first = done.trials[0]
    assert first.number == 1
    assert first.value is not None
    assert first.recipe["learning_rate"] == METHODS[Method.FULL].learning_rate
    # The seconds before the kill count: at least the eight slow steps to its checkpoint.
    assert first.seconds > 8 * 0.1


def test_the_killed_part_of_a_trial_counts_that_was_cut_short_after_it(
    killed: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    said: list[str] = []
    with pytest.raises(DataError, match="no trial came to its end"):
        hunt(
            tiny_encoder,
            tmp_path,
            Budget(minutes=0.3, trial_minutes=0.3),
            methods=(Method.FULL,),
            clock=ticking(1000.0),  # the minutes are over at the first step
            say=said.append,
        )
    trials = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}").trials
    pruned = trials[1]
    assert pruned.state is optuna.trial.TrialState.PRUNED
    assert pruned.user_attrs["note"] == "the minutes of the search were over"
    # All that this call spent is a multiple of a tick; the eight slow steps of the other are not.
    assert pruned.user_attrs["seconds"] % 1000 > 8 * 0.1
    assert len(trials) == 2


def test_a_trial_below_the_median_of_its_forerunners_is_cut_short() -> None:
    study = optuna.create_study(
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=FIRST_PRUNED_EPOCH),
    )
    for values in ([0.5, 0.7, 0.8], [0.5, 0.6, 0.7]):
        trial = study.ask()
        rival = Rival(trial, "accuracy", lambda: False)
        for epoch, value in enumerate(values, start=1):
            rival.on_evaluate(*at(epoch), metrics={"eval_accuracy": value})
        study.tell(trial, values[-1])
    lagging = Rival(study.ask(), "accuracy", lambda: False)
    lagging.on_evaluate(*at(1), metrics={"eval_accuracy": 0.1})
    with pytest.raises(optuna.TrialPruned) as caught:
        lagging.on_evaluate(*at(2), metrics={"eval_accuracy": 0.6})
    assert str(caught.value) == "below the median of the trials before it at epoch 2"
    level = Rival(study.ask(), "accuracy", lambda: False)
    for epoch, value in enumerate([0.1, 0.65], start=1):  # the median of .7 and .6
        level.on_evaluate(*at(epoch), metrics={"eval_accuracy": value})


def at(epoch: int) -> tuple[object, object, object]:
    """A trainer's arguments at the end of an epoch of ten steps, five epochs planned."""
    state = SimpleNamespace(epoch=float(epoch), global_step=10 * epoch, max_steps=50)
    return None, state, TrainerControl()


def test_a_trial_ends_when_the_minutes_are_over() -> None:
    late = Rival(optuna.create_study().ask(), "accuracy", lambda: True)
    with pytest.raises(optuna.TrialPruned) as caught:
        late.on_step_end()
    assert str(caught.value) == "the minutes of the search were over"


@pytest.mark.parametrize("width", [384, 768])
@pytest.mark.parametrize("method", Space(tuple(METHODS)).tuned)
def test_the_usual_recipe_lies_in_the_space(method: Method, width: int) -> None:
    space = Space(tuple(METHODS), width)
    usual = space.usual(method, TrainOptions())
    assert usual.pop("method") == method.value
    ranges = space.of(method)
    assert usual.keys() == ranges.keys()
    for name, value in usual.items():
        assert ranges[name]._contains(ranges[name].to_internal_repr(value)), name


def test_an_adapter_keeps_its_scale_at_every_rank(tiny_encoder: Path, tmp_path: Path) -> None:
    done = hunt(
        tiny_encoder,
        tmp_path,
        Budget(minutes=4.0, trial_minutes=1.0),
        methods=(Method.LORA,),
        clock=ticking(1.0),
    )
    ranks = {trial.recipe["adapter_rank"]: trial.recipe["adapter_alpha"] for trial in done.trials}
    assert all(alpha == 2 * rank for rank, alpha in ranks.items())


def test_no_finished_trial_is_an_error_with_the_way_out(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        hunt(
            tiny_encoder,
            tmp_path,
            Budget(minutes=0.01, trial_minutes=0.01),
            methods=(Method.FULL,),
            clock=ticking(0.5),
        )
    assert str(caught.value) == (
        "no trial came to its end within 0.01 minutes: give more minutes, or fewer examples"
    )


def test_trials_longer_than_the_search_are_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        Budget(minutes=5, trial_minutes=6)
    assert str(caught.value) == (
        "trials of 6 minutes in a search of 5: expected more than 0 and no more than the whole"
    )


def test_differences_within_noise_are_told_from_the_rows() -> None:
    best = Trial(0, "complete", 0.9, {"method": "full"}, 1.0)
    searched = Searched(best, (best,), "accuracy", 900, 1.0, 0.5)
    assert searched.standard_error == pytest.approx(0.01)  # sqrt(.9 * .1 / 900)
