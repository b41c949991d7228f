"""Once an encoder is worth keeping, the rows that judged it teach too."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.inference.runtime import Embedder, load_embedder
from shared.pretrained import PretrainedEncoder
from shared.training.all_rows import may_go_again, refitted
from shared.training.batches import HeadTask
from shared.training.examples import Examples
from shared.training.finetune import finetune_classifier
from shared.training.fusion import fit_fused
from shared.training.learning import HeadData, learn
from shared.training.options import FineTuned, Keep, TrainOptions

WORDS = {"bad": "loss", "dull": "tea", "good": "profit"}
RUN = FineTuned(
    folder=Path("m"), method="full", reason="", metric="macro_f1", best_metric=1.0, best_step=1,
    steps=1, seconds=60.0, stopped_because="", trained_parameters=1, parameters=1, history=(),
)  # fmt: skip


def rows(count: int, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    labels = [sorted(WORDS)[at % 3] for at in range(count)]
    filler = "the a my was is where how late when will it help please hello".split()
    texts = [" ".join(rng.permutation([*rng.choice(filler, 6), WORDS[at]])) for at in labels]
    return Examples(tuple(texts), tuple((label,) for label in labels), np.arange(count))


@pytest.mark.parametrize(
    ("minutes", "keep", "may"),
    [(None, None, True), (2.0, None, True), (1.9, None, False), (None, "best", False)],
)
def test_another_run_must_fit_into_the_budget_and_may_keep_its_last_weights(
    minutes: float | None, keep: Keep | None, may: bool
) -> None:
    assert may_go_again(RUN, TrainOptions(minutes=minutes, keep=keep)) == may


def test_scorers_see_all_rows_and_what_needs_unseen_rows_stays(tiny_encoder: Path) -> None:
    embedder: Embedder = load_embedder(tiny_encoder, precision="fp32", threads=1)
    everything = rows(36, 1)
    part, held = everything.take(np.arange(27)), everything.take(np.arange(27, 36))
    first = fit_fused(part, embedder=embedder, finetuned=embedder, validation=held, threads=1)
    again = refitted(first, embedder, everything, copies=(), seed=13, threads=1)
    assert (len(first.classifier.known), len(again.classifier.known)) == (27, 36)
    assert again.classifier.fusion == first.classifier.fusion
    assert again.classifier.scope == first.classifier.scope
    assert np.isnan(again.out_of_fold).all()
    assert again.out_of_fold.shape == (36, 3)
    said = again.classifier.score(everything.texts).probabilities.argmax(1)
    assert [again.classifier.labels[at] for at in said] == list(everything.single)


def test_a_kept_encoder_of_few_rows_is_trained_on_all_of_them(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counted(tasks: Sequence[HeadTask], **given: Any) -> FineTuned:
        seen.append(len(tasks[0].train))
        return finetune_classifier(tasks, **given)

    monkeypatch.setattr("shared.training.learning.finetune_classifier", counted)
    monkeypatch.setattr("shared.training.all_rows.finetune_classifier", counted)
    monkeypatch.setattr("shared.training.learning._loss_on", lambda *_: 1e9)  # it is always kept
    base = PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none")
    options = TrainOptions(
        method="full", epochs=1, threads=1, bf16=False, device="cpu", progress=False
    )
    embedder: Embedder = load_embedder(tiny_encoder, precision="fp32", threads=1)
    given: dict[str, Any] = {"base": base, "embedder": embedder, "say": lambda _: None}
    for name, changed, trained in (
        ("few", options, [24, 27]),
        ("asked for the best", replace(options, keep="best"), [24]),
    ):
        seen.clear()
        found = learn(
            [HeadData("tone", rows(27, 2))], options=changed, folder=tmp_path / name, **given
        )
        assert seen == trained
        assert found.encoder == tmp_path / name
        assert (tmp_path / name / "model.safetensors").is_file()
        assert sorted(path.name for path in tmp_path.iterdir() if "again" in path.name) == []
        again = "fine-tuned again on all rows; probabilities are calibrated by the first run"
        assert (again in found.notes) == (len(trained) == 2)
