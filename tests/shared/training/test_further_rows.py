"""Once an encoder is worth keeping, the rows that judged it teach too."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.inference.runtime import Embedder, load_embedder
from shared.pretrained import PretrainedEncoder
from shared.training.batches import HeadTask
from shared.training.budget import CallBudget
from shared.training.examples import Examples
from shared.training.finetune import finetune_classifier
from shared.training.further_rows import (
    FIRST,
    LAST,
    FurtherRuns,
    Sure,
    refitted,
    sure_labels,
)
from shared.training.fusion import FusedFit, fit_fused
from shared.training.head_data import HeadData
from shared.training.learning import learn
from shared.training.options import FineTuned, Keep, TrainOptions
from shared.training.pseudo_labels import Pool
from shared.training.run_results import RESULT_FILE
from tests.shared.training.conftest import rows

OPTIONS = TrainOptions(method="full", epochs=1, threads=1, bf16=False, device="cpu", progress=False)
RUN = FineTuned(
    folder=Path("m"), method="full", reason="", metric="macro_f1", best_metric=1.0, best_step=1,
    steps=1, seconds=60.0, stopped_because="", trained_parameters=1, parameters=1, history=(),
)  # fmt: skip


@pytest.fixture
def given(tiny_encoder: Path) -> dict[str, Any]:
    embedder: Embedder = load_embedder(tiny_encoder, precision="fp32", threads=1)
    base = PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none")
    return {"base": base, "embedder": embedder, "say": lambda _: None}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, TrainOptions]]:
    """Rows and options of each fine-tuning, whose encoder is always worth keeping."""
    runs: list[tuple[int, TrainOptions]] = []

    def noted(tasks: Sequence[HeadTask], **given: Any) -> FineTuned:
        runs.append((len(tasks[0].train), given["options"]))
        return finetune_classifier(tasks, **given)

    monkeypatch.setattr("shared.training.learning_tuned.finetune_classifier", noted)
    monkeypatch.setattr("shared.training.further_rows.finetune_classifier", noted)
    monkeypatch.setattr("shared.training.learning_tuned.worth_it", lambda *_, **__: True)
    return runs


@pytest.mark.parametrize(
    ("minutes", "times", "may"),
    [(None, 9.0, True), (2.0, 1.0, True), (1.9, 1.0, False), (1.9, 0.8, True)],
)
def test_another_run_must_fit_into_the_budget(
    given: dict[str, Any], minutes: float | None, times: float, may: bool
) -> None:
    """By the minutes of fine-tuning alone, of which the first run took one."""
    options = TrainOptions(minutes=minutes)
    budget = CallBudget.of(options, lambda: 500.0)
    further = FurtherRuns(
        RUN, options=options, probes=(), budget=budget, each=30.0, after=40.0, **given
    )
    assert further.fit(times) == may


def test_scorers_see_all_rows_and_what_needs_unseen_rows_stays(given: dict[str, Any]) -> None:
    embedder = given["embedder"]
    everything = rows(36, 1)
    part, held = everything.take(np.arange(27)), everything.take(np.arange(27, 36))
    first = fit_fused(part, embedder=embedder, finetuned=embedder, validation=held, threads=1)
    again = refitted(first, embedder, everything, known=30, copies=(), seed=13, threads=1)
    assert (len(first.classifier.dense.known), len(again.classifier.dense.known)) == (27, 36)
    assert again.classifier.fusion == first.classifier.fusion
    assert again.classifier.scope == first.classifier.scope
    assert np.isnan(again.out_of_fold).all()
    assert again.out_of_fold.shape == (30, 3)
    said = again.classifier.score(everything.texts).probabilities.argmax(1)
    assert [again.classifier.labels[at] for at in said] == list(everything.single)


@pytest.mark.parametrize(("keep", "trained"), [(None, [24, 27]), ("best", [24])])
def test_a_kept_encoder_of_few_rows_is_trained_on_all_of_them(
    given: dict[str, Any],
    seen: list[tuple[int, TrainOptions]],
    tmp_path: Path,
    keep: Keep | None,
    trained: list[int],
) -> None:
    found = learn(
        [HeadData("tone", rows(27, 2))],
        options=replace(OPTIONS, keep=keep), folder=tmp_path / "m", **given,
    )  # fmt: skip
    assert [count for count, _ in seen] == trained
    assert found.encoder == tmp_path / "m"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    again = "fine-tuned again on all rows; probabilities are calibrated before that"
    assert (again in found.notes) == (len(trained) == 2)
    # Predictions out of fold are of the head's rows, whatever the encoder was trained on.
    assert found.chosen["tone"].out_of_fold.shape == (27, 3)
    # What the model says of its training is what was measured on unseen rows.
    assert found.finetuned is not None
    said = (tmp_path / "m" / RESULT_FILE).read_text(encoding="utf-8")
    assert said == found.finetuned.to_json()


def test_the_loss_stays_that_of_the_first_run_when_rows_get_more(
    given: dict[str, Any], seen: list[tuple[int, TrainOptions]], tmp_path: Path
) -> None:
    """29 of 33 rows of three labels are few, 33 are not."""
    learn([HeadData("tone", rows(33, 2))], options=OPTIONS, folder=tmp_path / "m", **given)
    (first, _), (second, options) = seen
    assert first <= 30 < second == 33
    assert (options.contrastive, options.keep) == (1.0, "last")


def test_unlabelled_texts_that_are_sure_teach_the_encoder(
    given: dict[str, Any], seen: list[tuple[int, TrainOptions]], tmp_path: Path
) -> None:
    texts = rows(120, 5)
    head = HeadData("tone", rows(27, 2), unlabelled=(*texts.texts, texts.texts[0]))
    found = learn([head], options=OPTIONS, folder=tmp_path / "m", **given)
    added = found.pseudo["tone"]
    assert 0 < added <= FIRST.per_row * 24
    assert [count for count, _ in seen][:2] == [24, 24 + added]
    more = seen[2][0] - 27
    assert added < more <= LAST.per_row * 27
    assert len(found.classifier("tone").dense.known) == 27 + more
    assert found.chosen["tone"].out_of_fold.shape == (27, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    (note,) = (note for note in found.notes if note.startswith("unlabelled texts: "))
    assert re.fullmatch(
        rf"unlabelled texts: {added}, labelled where the model was sure, moved the loss on "
        r"unseen rows from \d\.\d{3} to \d\.\d{3}: (no more than noise, )?kept",
        note,
    )


@pytest.mark.parametrize("why", ["unsure", "worse", "late"])
def test_unlabelled_texts_that_do_not_help_are_left_out(
    given: dict[str, Any],
    seen: list[tuple[int, TrainOptions]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    why: str,
) -> None:
    notes = {
        "unsure": "unlabelled texts: none was sure enough to learn from",
        "worse": r"unlabelled texts: \d+ would have moved the loss on unseen rows from \d\.\d{3} "
        r"to 100\d\.\d{3}: left out",
        "late": r"unlabelled texts: no time is left to learn from \d+",
    }
    if why == "unsure":
        monkeypatch.setattr("shared.training.learning_tuned.FIRST", Sure(1.1, 6))
    if why == "late":
        # On all labelled rows: 27 in the place of 24.
        monkeypatch.setattr(FurtherRuns, "fit", lambda _, times: times == 27 / 24)
    if why == "worse":
        monkeypatch.setattr(
            "shared.training.learning_tuned.worth_it", lambda tuned, *_, **__: tuned.mean() < 500
        )

        def worse(examples: Examples, **given: Any) -> FusedFit:
            fit = fit_fused(examples, **given)
            return replace(fit, losses=fit.losses + 1e3) if len(examples) > 27 else fit

        monkeypatch.setattr("shared.training.learning_tuned.fit_fused", worse)
    head = HeadData("tone", rows(27, 2), unlabelled=rows(120, 5).texts)
    found = learn([head], options=OPTIONS, folder=tmp_path / "m", **given)
    (note,) = (note for note in found.notes if note.startswith("unlabelled texts: "))
    assert re.fullmatch(notes[why], note)
    assert found.pseudo == {}
    assert seen[-1][0] == 27  # then on all labelled rows, and on those alone
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_many_labelled_rows_need_no_unlabelled_ones(
    given: dict[str, Any], seen: list[tuple[int, TrainOptions]], tmp_path: Path
) -> None:
    head = HeadData("tone", rows(60, 2), unlabelled=rows(30, 5).texts)
    found = learn([head], options=OPTIONS, folder=tmp_path / "m", **given)
    assert len(seen) == 1
    assert found.pseudo == {}


@pytest.mark.parametrize("sure", [FIRST, LAST])
def test_a_sure_label_is_probable_and_leaves_room_for_others(
    given: dict[str, Any], sure: Sure
) -> None:
    embedder, known = given["embedder"], rows(27, 2)
    model = fit_fused(known, embedder=embedder, threads=1).classifier
    pool = Pool.of(known, rows(300, 5).texts)
    found = sure_labels(model, pool, known, sure)
    p = model.predict_proba(pool.texts)
    assert len(found) > 0
    assert (p[found.rows].max(1) >= sure.probability).all()
    names = [model.labels[at] for at in p[found.rows].argmax(1)]
    assert list(found.labels) == names
    assert max(names.count(name) for name in model.labels) <= sure.per_row * 9
