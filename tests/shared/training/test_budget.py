"""The minutes of a call, counted by a clock that the test turns: none of them is spent twice."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import TrainerCallback

from shared.inference.runtime import Embedder, load_embedder
from shared.modeling.heads import HeadSpec
from shared.pretrained import PretrainedEncoder
from shared.training.batches import HeadTask
from shared.training.budget import AFTER, CallBudget, Share
from shared.training.examples import Examples
from shared.training.finetune import finetune_classifier
from shared.training.forecast import Forecast
from shared.training.further_rows import EPOCHS_SHARE, FIRST, LAST, Sure, lengths_of
from shared.training.fusion import FusedFit, fit_fused
from shared.training.head_data import HeadData, Learned
from shared.training.learning import learn
from shared.training.options import FineTuned, TrainOptions
from shared.training.pseudo_labels import Pool
from tests.shared.training.conftest import WORDS, rows

OPTIONS = TrainOptions(method="full", epochs=1, threads=1, bf16=False, device="cpu", progress=False)
# Of the call that the tests make, in seconds: before it learns, a fusion without the encoder, one
# with it, and a fine-tuning as long as it wishes.
READING, FROZEN, FUSION, WISHED = 30.0, 60.0, 50.0, 100.0
BEFORE = READING + FROZEN


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Call:
    """A call under way. shares: of each fine-tuning, in order."""

    clock: Clock
    said: list[str] = field(default_factory=list)
    shares: list[Share] = field(default_factory=list)
    minutes: list[float | None] = field(default_factory=list)

    @property
    def spent(self) -> float:
        return self.clock.now - Clock.now


@pytest.fixture
def tiny(tiny_encoder: Path) -> PretrainedEncoder:
    return PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none")


def called(
    options: TrainOptions,
    tiny: PretrainedEncoder,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    wished: float = WISHED,
    unlabelled: tuple[str, ...] = (),
) -> tuple[Call, Learned]:
    """27 rows learned from; every step of the call takes its seconds on the clock."""
    call = Call(Clock())

    def frozen(examples: Examples, **given: Any) -> FusedFit:
        call.clock.now += FROZEN
        return fit_fused(examples, **given)

    def fused(examples: Examples, **given: Any) -> FusedFit:
        call.clock.now += FUSION
        return fit_fused(examples, **given)

    def finetuned(tasks: Sequence[HeadTask], *, share: Share, **given: Any) -> FineTuned:
        call.shares.append(share)
        call.minutes.append(given["options"].minutes)
        done = finetune_classifier(tasks, **given)
        seconds = wished if share.seconds is None else min(wished, share.seconds)
        call.clock.now += seconds
        return replace(done, seconds=seconds)

    def served(folder: Path, **_: Any) -> Embedder:
        return load_embedder(folder, precision="fp32", threads=1)

    for module in ("learning_tuned", "further_rows"):
        monkeypatch.setattr(f"shared.training.{module}.finetune_classifier", finetuned)
        monkeypatch.setattr(f"shared.training.{module}.finetuned_embedder", served)
    monkeypatch.setattr("shared.training.learning.fit_fused", frozen)
    monkeypatch.setattr("shared.training.learning_tuned.fit_fused", fused)
    monkeypatch.setattr("shared.training.learning_tuned.worth_it", lambda *_, **__: True)
    options = replace(options, began=call.clock.now)
    call.clock.now += READING
    learned = learn(
        [HeadData("tone", rows(27, 2), unlabelled=unlabelled)],
        base=tiny,
        embedder=load_embedder(tiny.path, precision="fp32", threads=1),
        options=options,
        folder=folder,
        say=call.said.append,
        clock=call.clock,
    )
    return call, learned


def test_fine_tuning_gets_what_reading_and_the_report_leave(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it can use all of that, the call is over in its minutes, the report still to come."""
    options = replace(OPTIONS, call_minutes=10.0)
    call, learned = called(options, tiny, tmp_path / "m", monkeypatch, wished=9999.0)
    (share,) = call.shares
    assert (share.before, share.after) == (BEFORE, AFTER * BEFORE)
    assert share.seconds == 600 - BEFORE - AFTER * BEFORE
    assert call.spent + share.after - FUSION <= 600
    assert "no time is left to fine-tune again on all rows" in learned.notes
    assert (
        "Of 10 minutes 7.0 are left for fine-tuning: 1.5 are used, and what follows takes about 1.5"
        in call.said
    )


def test_a_run_on_all_rows_follows_where_it_fits_with_its_export_and_its_fusion(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, call_minutes=10.0)
    call, learned = called(options, tiny, tmp_path / "m", monkeypatch)
    assert len(call.shares) == 2
    used, report = BEFORE + WISHED + FUSION, AFTER * BEFORE - FUSION
    assert call.shares[1].seconds == 600 - used - FUSION - report
    assert any(note.startswith("fine-tuned again on all rows") for note in learned.notes)
    # A second less than it takes, on 27 rows in the place of 24, and it is left out.
    needed = used + WISHED * 27 / 24 + FUSION + report
    for seconds, runs in ((needed + 1e-6, 2), (needed - 1, 1)):
        some = replace(options, call_minutes=seconds / 60)
        call, _ = called(some, tiny, tmp_path / f"{seconds}", monkeypatch)
        assert len(call.shares) == runs


def test_a_further_run_is_known_by_the_minutes_asked_for_however_many_are_left(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoints are found by its options: an attempt that goes on has other seconds left."""
    options = replace(OPTIONS, call_minutes=60.0, minutes=9.0)
    call, _ = called(options, tiny, tmp_path / "m", monkeypatch)
    assert [share.seconds for share in call.shares] == [540.0, 540.0 - WISHED]
    assert call.minutes == [9.0, 9.0]


def test_without_minutes_nothing_is_bounded_and_the_forecast_is_of_the_call_all_the_same(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, _ = called(OPTIONS, tiny, tmp_path / "m", monkeypatch)
    assert [share.seconds for share in call.shares] == [None, None]
    first, second = call.shares
    assert (first.before, first.further, first.what) == (BEFORE, 27 / 24, "a run on all rows")
    assert second.outlook(60.0) is None


def test_minutes_that_reading_has_used_up_leave_the_encoder_as_it_is(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, call_minutes=2.0)
    call, learned = called(replace(options, method="auto"), tiny, tmp_path / "auto", monkeypatch)
    assert call.shares == []
    assert learned.notes[0] == (
        "method frozen: the budget is too short to fine-tune in (smallest label: 9 rows, "
        "0 minutes for it)"
    )
    # Asked for by name it is begun, and nothing follows it.
    call, _ = called(options, tiny, tmp_path / "full", monkeypatch)
    assert [share.seconds for share in call.shares] == [0.0]
    assert call.said[5].startswith("Of 2 minutes 0.0 are left for fine-tuning: 1.5 are used")
    assert call.said[5].endswith("; give more minutes, or --method frozen")


def test_unlabelled_texts_lengthen_what_may_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = rows(100, 1)
    part, held = everything.take(np.arange(80)), everything.take(np.arange(80, 100))
    task = HeadTask(HeadSpec("tone", "single", tuple(sorted(WORDS))), part, held)
    assert lengths_of([task], []) == 100 / 80
    pool = Pool.of(everything, [f"{text} news bank card" for text in rows(60, 3).texts])
    texts = len(pool.texts)
    assert texts < FIRST.per_row * 80
    assert lengths_of([task], [pool]) == EPOCHS_SHARE * ((80 + texts) + (100 + texts)) / 80
    few = "shared.training.further_rows.{}"
    monkeypatch.setattr(few.format("FIRST"), Sure(FIRST.probability, 0))
    assert lengths_of([task], [pool]) == EPOCHS_SHARE * (80 + (100 + texts)) / 80
    monkeypatch.setattr(few.format("LAST"), Sure(LAST.probability, 0))
    assert lengths_of([task], [pool]) == EPOCHS_SHARE * (80 + 100) / 80


def test_the_outlook_is_of_the_whole_call_and_of_what_may_follow() -> None:
    share = Share(None, before=60.0, after=90.0)
    said = "With what came before (1.0) and comes after (about 1.5): 4.5 minutes in all"
    assert share.outlook(120.0) == said
    more = replace(share, further=1.25, what="a run on all rows")
    assert more.outlook(120.0) == (
        f"{said}, and up to 2.5 more for a run on all rows, if the encoder is kept"
    )
    bounded = replace(more, seconds=300.0)
    assert bounded.outlook(120.0) == f"{more.outlook(120.0)} and the budget has room"
    assert Share.of(TrainOptions(minutes=2.0)) == Share(120.0)
    assert Share.of(TrainOptions()).outlook(120.0) is None


def test_the_seconds_of_a_first_attempt_count() -> None:
    budget = CallBudget(600.0, None, 0.0, lambda: 200.0)
    assert budget.left(50.0, after=100.0) == 300.0
    assert budget.left(50.0, after=100.0, earlier=120.0) == 180.0
    assert CallBudget(None, None, 0.0, lambda: 200.0).left(50.0, after=1.0) is None
    assert CallBudget(600.0, 90.0, 0.0, lambda: 200.0).left(50.0, after=100.0) == 40.0


SLOW = Forecast(80, 10, 6.0, 3.0, 100.0, 4)
STEPS = int((180 * 0.93 - 3) / 6.3)  # of SLOW, in 180 seconds


def tone_task() -> HeadTask:
    part = rows(160, 4)
    spec = HeadSpec("tone", "single", tuple(sorted(WORDS)))
    return HeadTask(spec, part, part.take(np.arange(40)))


def test_a_forecast_says_what_it_is_of_and_what_the_call_will_take(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.training.runs.forecast", lambda *_, **__: SLOW)
    said: list[str] = []
    share = Share(180.0, before=60.0, after=60.0, further=1.0, what="a run on all rows")
    done = finetune_classifier(
        [tone_task()],
        encoder=tiny,
        options=replace(OPTIONS, epochs=8, batch_size=16, call_minutes=5.0),
        folder=tmp_path / "m",
        say=said.append,
        clock=lambda: 0.0,
        share=share,
    )
    assert done.steps == STEPS
    fitted = SLOW.within(180.0)
    assert said[1:4] == [
        SLOW.line(),
        f"The 3 minutes for fine-tuning end it at step {STEPS} of 80",
        share.outlook(fitted.seconds),
    ]
    assert fitted.seconds + 60 + 60 <= 300


def test_where_the_time_is_over_before_the_first_step_nothing_is_probed(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.training.runs.forecast", lambda *_, **__: pytest.fail("probed"))
    said: list[str] = []
    done = finetune_classifier(
        [tone_task()],
        encoder=tiny,
        options=replace(OPTIONS, epochs=8, batch_size=16),
        folder=tmp_path / "m",
        say=said.append,
        clock=lambda: 0.0,
        share=Share(0.0),
    )
    assert "The 0 minutes for fine-tuning are over already: it takes one step" in said
    assert (done.steps, len(done.history)) == (1, 1)
    assert done.stopped_because == "the 0 minutes for fine-tuning are used up"


class CutError(Exception):
    """Stands for whatever ends a process between two lines."""


class Cut(TrainerCallback):  # type: ignore[misc]
    def on_step_end(self, _: object, state: Any, *__: object, **___: object) -> None:
        if state.global_step == 10:
            raise CutError


def test_an_attempt_that_goes_on_has_the_seconds_that_were_planned(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes with fewer, for it has read the files once more, and is the same run all the
    same."""
    monkeypatch.setattr("shared.training.runs.forecast", lambda *_, **__: SLOW)
    options = replace(
        OPTIONS, epochs=8, batch_size=16, call_minutes=5.0, checkpoint_minutes=0.0, began=0.0
    )
    given: dict[str, Any] = {"encoder": tiny, "folder": tmp_path / "m", "clock": lambda: 0.0}
    with pytest.raises(CutError):
        finetune_classifier(
            [tone_task()], options=options, share=Share(180.0), watchers=[Cut()], **given
        )
    done = finetune_classifier(
        [tone_task()], options=replace(options, began=77.0), share=Share(20.0), **given
    )
    assert done.resumed_at_step
    assert done.steps == STEPS
    assert re.fullmatch(r"all \d+ steps are done", done.stopped_because)
