"""Search over recipes of fine-tuning: Optuna proposes, a development part judges.

Trials of equal minutes are compared: what a recipe reaches within them, schedule and all. The first
trials are the methods as METHODS has them, so that the result is never worse there than no search.
A trial that lags behind the median of its forerunners at the same epoch is cut short. All is kept
in a SQLite file beside the trials' checkpoints: a search that was killed, called again, takes up
the very trial it was in. A study is one set of minutes for a trial, for values that were reached in
others cannot be compared; a search called with more minutes in all goes on with those it has.
"""

import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from shared.errors import DataError, ModelError
from shared.modeling.encoder_folder import read_encoder_folder
from shared.pretrained import PretrainedEncoder
from shared.training.batches import HeadTask
from shared.training.checkpoints import PREFIX, read
from shared.training.finetune import finetune_classifier, tasks_content
from shared.training.methods import METHODS, USUAL_WIDTH, recipe_for
from shared.training.options import Method, TrainOptions
from shared.training.runs import fingerprint
from shared.training.trials import Budget, Searched, Trial, line_of

STUDY_FILE = "study.db"
DEFAULT_METHODS = (Method.FROZEN, Method.LORA, Method.FULL)
# What a study has noted of itself: what it searches on, whatever the minutes, and those of a trial.
CONTENT, TRIAL_MINUTES = "content", "trial_minutes"
# Learning rates around that of a method's row in METHODS, as factors.
SLOWEST, FASTEST = 0.2, 3.0
LONGEST_EPOCHS = 10
# No trial is cut short before so many have run to their end, nor before this epoch of its own.
UNPRUNED_TRIALS, FIRST_PRUNED_EPOCH = 3, 2


def search(
    tasks: Sequence[HeadTask],
    *,
    encoder: PretrainedEncoder,
    options: TrainOptions,
    budget: Budget,
    folder: Path,
    methods: Sequence[Method] = DEFAULT_METHODS,
    say: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Searched:
    """Try recipes on the tasks until the budget is spent; the trials lie in `folder`.

    tasks: their validation parts judge every trial, so that neither may hold a row of the report
    that is written about the model in the end. options: what is not searched, such as the metric,
    the seed and the threads. Called again with the same tasks, options and methods a search goes
    on, and with more minutes it goes further: with the minutes a trial had, unless the budget names
    others or is less than one. `say` hears which.

    Raises:
        DataError: the tasks, or no trial came to its end. ModelError: the encoder.
    """
    content = tasks_content(tasks)

    def named(minutes: float | None) -> str:
        alike = replace(options, minutes=minutes)
        return fingerprint(alike, encoder.sha256, sorted(methods), *content)

    study = _study(folder, named, budget, options.seed, say)
    minutes = float(study.user_attrs[TRIAL_MINUTES])
    options = replace(options, minutes=minutes, progress=False)
    space = Space(tuple(methods), read_encoder_folder(encoder.path).dim)
    hunt = _Hunt(study, tasks, encoder, options, folder, space, say, clock)
    hunt.take_up()
    while hunt.space.tuned and (
        (spent := hunt.spent()) + hunt.next_seconds() <= budget.minutes * 60
    ):
        hunt.one_trial(deadline=clock() + budget.minutes * 60 - spent)
    trials = hunt.trials()
    finished = [trial for trial in trials if trial.value is not None]
    if not finished:
        raise DataError(
            f"no trial came to its end within {budget.minutes:g} minutes: give more minutes, or "
            "fewer examples"
        )
    best = max(finished, key=lambda trial: trial.value or 0.0)
    rows = sum(len(task.validation) for task in tasks)
    return Searched(best, trials, options.metric, rows, hunt.spent(), minutes)


@dataclass(frozen=True)
class Space:
    """What may be proposed: of each method its own learning rates and parts. width: of the
    encoder's vectors."""

    methods: tuple[Method, ...]
    width: int = USUAL_WIDTH

    @property
    def tuned(self) -> tuple[Method, ...]:
        """Those with something to search; the others are tried once, as they are."""
        return tuple(method for method in self.methods if not METHODS[method].cached)

    def of(self, method: Method) -> dict[str, BaseDistribution]:
        """Name of a parameter -> its range; what differs between methods has the method's name."""
        rate = recipe_for(method, self.width).learning_rate
        found: dict[str, BaseDistribution] = {
            f"{method.value}.learning_rate": FloatDistribution(
                SLOWEST * rate, FASTEST * rate, log=True
            ),
            "epochs": IntDistribution(2, LONGEST_EPOCHS),
            "batch_size": CategoricalDistribution((16, 32, 64)),
            "label_smoothing": FloatDistribution(0.0, 0.15, step=0.05),
        }
        if method in (Method.LORA, Method.ADALORA):
            found["adapter_rank"] = CategoricalDistribution((4, 8, 16, 32))
        if method is Method.FULL:
            found["freeze_embeddings"] = CategoricalDistribution((True, False))
            found["layer_decay"] = FloatDistribution(0.7, 1.0)
        return found

    def usual(self, method: Method, options: TrainOptions) -> dict[str, Any]:
        """The method as it is without a search."""
        recipe = recipe_for(method, self.width)
        usual: dict[str, Any] = {
            f"{method.value}.learning_rate": recipe.learning_rate,
            "epochs": recipe.epochs,
            "batch_size": recipe.batch_size,
        }
        values = {name: usual.get(name, getattr(options, name, None)) for name in self.of(method)}
        return {"method": method.value, **values}

    def proposed(self, trial: optuna.Trial) -> dict[str, Any]:
        """Values of TrainOptions."""
        method = Method(trial.suggest_categorical("method", [m.value for m in self.tuned]))
        values = {name: _suggested(trial, name, span) for name, span in self.of(method).items()}
        return _recipe({"method": method.value, **values})


def _suggested(trial: optuna.Trial, name: str, span: BaseDistribution) -> Any:
    if isinstance(span, CategoricalDistribution):
        return trial.suggest_categorical(name, span.choices)
    if isinstance(span, IntDistribution):
        return trial.suggest_int(name, span.low, span.high)
    assert isinstance(span, FloatDistribution)
    return trial.suggest_float(name, span.low, span.high, step=span.step, log=span.log)


def _recipe(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a trial as values of TrainOptions."""
    found = {name.rpartition(".")[2]: value for name, value in parameters.items()}
    if "adapter_rank" in found:
        # The scale of an adapter is alpha / rank: the same at every rank.
        found["adapter_alpha"] = 2 * found["adapter_rank"]
    return found


@dataclass
class _Hunt:
    """A search under way."""

    study: optuna.Study
    tasks: Sequence[HeadTask]
    encoder: PretrainedEncoder
    options: TrainOptions
    folder: Path
    space: Space
    say: Callable[[str], None]
    clock: Callable[[], float]

    def take_up(self) -> None:
        """Queue the trial that a killed call was in, and on the first call each method as it is."""
        for trial in self.study.get_trials(states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)
            # Killed before it was proposed to, a queued trial still holds what it was queued with.
            values = trial.params or trial.system_attrs.get("fixed_params")
            if values:
                self.study.enqueue_trial(values)
                self.say(f"Trial {trial.number} was cut off: it is taken up again")
        tried = {trial.recipe["method"] for trial in self.trials()}
        for method in set(self.space.methods) - set(self.space.tuned):
            if method.value not in tried:
                self._as_it_is({"method": method.value})
        if not any(trial.params or trial.system_attrs for trial in self.study.trials):
            for method in self.space.tuned:
                self.study.enqueue_trial(self.space.usual(method, self.options))

    def _as_it_is(self, recipe: Mapping[str, Any]) -> None:
        """A method without parameters: no proposal, and nothing to cut short."""
        value, note, seconds = self._learned(recipe, ())
        attributes = {"recipe": dict(recipe), "seconds": seconds, "note": note}
        self.study.add_trial(optuna.trial.create_trial(value=value, user_attrs=attributes))
        self.say(line_of(self.trials()[-1], self.options.metric))

    def spent(self) -> float:
        """Seconds of all trials so far."""
        return sum(trial.seconds for trial in self.trials())

    def next_seconds(self) -> float:
        """What the next trial may take: the longest so far, or all it is allowed."""
        tuned = [
            trial.seconds
            for trial in self.trials()
            if trial.value is not None and Method(trial.recipe["method"]) in self.space.tuned
        ]
        if not tuned and not any(trial.value is not None for trial in self.trials()):
            return 0.0
        return max(tuned, default=float(self.options.minutes or 0.0) * 60)

    def trials(self) -> tuple[Trial, ...]:
        """Those that ended, by themselves or cut short; one that was killed is not among them."""
        ended = self.study.get_trials(
            deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        )
        return tuple(_described(trial) for trial in ended if "seconds" in trial.user_attrs)

    def one_trial(self, *, deadline: float) -> None:
        """Propose, train, judge, and note what it took."""
        trial = self.study.ask()
        recipe = self.space.proposed(trial)
        trial.set_user_attr("recipe", recipe)
        watcher = Rival(
            trial, self.options.metric, lambda: watcher.earlier + self.clock() >= deadline
        )
        started = self.clock()
        value: float | None = None
        try:
            value, note, seconds = self._learned(recipe, (watcher,))
            state = TrialState.COMPLETE
        except optuna.TrialPruned as pruned:
            state, note = TrialState.PRUNED, str(pruned)
            seconds = watcher.earlier + self.clock() - started
        except ModelError as error:
            state, note = TrialState.FAIL, str(error)
            seconds = watcher.earlier + self.clock() - started
        trial.set_user_attr("seconds", seconds)
        trial.set_user_attr("note", note)
        self.study.tell(trial, value, state=state)
        shutil.rmtree(self._trials, ignore_errors=True)
        self.say(line_of(self.trials()[-1], self.options.metric))

    def _learned(
        self, recipe: Mapping[str, Any], watchers: Sequence[TrainerCallback]
    ) -> tuple[float, str, float]:
        """The best value of the metric, why the run ended, and its seconds."""
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
        done = finetune_classifier(
            self.tasks,
            encoder=self.encoder,
            options=replace(self.options, **recipe),
            # By recipe: the same one, taken up after a kill, finds its checkpoints again.
            folder=self._trials / digest[:16],
            clock=self.clock,
            watchers=watchers,
        )
        return done.best_metric, done.stopped_because, done.seconds

    @property
    def _trials(self) -> Path:
        return self.folder / "trials"


class Rival(TrainerCallback):  # type: ignore[misc]
    """Reports a trial's evaluations, and ends it where it lags behind or time is up. earlier:
    seconds of the attempt that it goes on from, once it does."""

    def __init__(self, trial: optuna.Trial, metric: str, late: Callable[[], bool]) -> None:
        self.trial = trial
        self.metric = metric
        self.late = late
        self.earlier = 0.0

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        if state.global_step:
            self.earlier = read(Path(args.output_dir) / f"{PREFIX}{state.global_step}").seconds

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        epoch = max(1, round(state.epoch or 0))
        with warnings.catch_warnings():
            # An attempt that goes on evaluates its last epoch again, with the same result.
            warnings.filterwarnings("ignore", "The reported value is ignored")
            self.trial.report(metrics[f"eval_{self.metric}"], epoch)
        if state.global_step < state.max_steps and self.trial.should_prune():
            raise optuna.TrialPruned(f"below the median of the trials before it at epoch {epoch}")

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if self.late():
            raise optuna.TrialPruned("the minutes of the search were over")


def _study(
    folder: Path,
    named: Callable[[float | None], str],
    budget: Budget,
    seed: int,
    say: Callable[[str], None],
) -> optuna.Study:
    """The study in the folder's file that is gone on with, or a new one. named: its name, by the
    minutes of a trial."""
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / STUDY_FILE}")
    content = named(None)
    before = _begun(storage, content)
    minutes = budget.a_trial
    fitting = [each for each in before if each <= budget.minutes]
    if budget.trial_minutes is None and fitting:
        minutes = fitting[-1]
    study = optuna.create_study(
        study_name=named(minutes), storage=storage, direction="maximize", load_if_exists=True
    )
    # A study from before they were noted gets them now.
    study.set_user_attr(CONTENT, content)
    study.set_user_attr(TRIAL_MINUTES, minutes)
    if study.trials:
        say(
            f"Going on with the search that is there, of {minutes:g} minutes a trial; "
            "--trial-minutes with another number begins a new one"
        )
    elif before:
        say(
            f"Beginning a new search, of {minutes:g} minutes a trial: the one that is there, of "
            f"{before[-1]:g}, cannot be compared with it"
        )
    # A sampler that goes on with the seed of its first call would propose the same again.
    study.sampler = optuna.samplers.TPESampler(
        seed=seed + len(study.trials), n_startup_trials=len(Method)
    )
    study.pruner = optuna.pruners.MedianPruner(
        n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=FIRST_PRUNED_EPOCH
    )
    return study


def _begun(storage: optuna.storages.RDBStorage, content: str) -> list[float]:
    """Minutes of a trial of each study of this content, the one begun last at the end."""
    found = optuna.get_all_study_summaries(storage, include_best_trial=False)
    alike = [each for each in found if each.user_attrs.get(CONTENT) == content and each.n_trials]
    alike.sort(key=lambda each: each.datetime_start or datetime.min)
    return [float(each.user_attrs[TRIAL_MINUTES]) for each in alike]


def _described(trial: FrozenTrial) -> Trial:
    return Trial(
        number=trial.number,
        state=trial.state.name.lower(),
        value=trial.value if trial.state is TrialState.COMPLETE else None,
        recipe=trial.user_attrs["recipe"],
        seconds=float(trial.user_attrs["seconds"]),
        note=str(trial.user_attrs["note"]),
    )
