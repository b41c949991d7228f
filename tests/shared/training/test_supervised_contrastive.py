"""The contrastive loss against its formula written out, batches in pairs, and that it teaches."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shared.errors import SettingsError
from shared.modeling.heads import HeadSpec
from shared.pretrained import PretrainedEncoder
from shared.training import processes
from shared.training.batches import HeadTask, columns_of
from shared.training.examples import Examples
from shared.training.finetune import finetune_classifier, new_model, prepare
from shared.training.method_choice import FEW_ROWS, has_few_labels, settled
from shared.training.objectives import HeadsObjective
from shared.training.options import FineTuned, Method, TrainOptions
from shared.training.supervised_contrastive import (
    PairedBatches,
    contrastive_losses,
    pairing_keys,
)

WORDS = {"bad": "loss", "dull": "tea", "good": "profit"}
QUICK = TrainOptions(
    method="full", epochs=3, batch_size=16, learning_rate=1e-3, head_learning_rate=1e-3,
    threads=1, bf16=False, device="cpu", progress=False, seed=3,
)  # fmt: skip
NAN = float("nan")


def by_formula(vectors: NDArray[np.float64], labels: list[int], temperature: float) -> list[float]:
    """Equation 2 of the source, a double loop over rows."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    losses = []
    for i in range(len(labels)):
        others = [a for a in range(len(labels)) if a != i]
        total = sum(math.exp(unit[i] @ unit[a] / temperature) for a in others)
        positives = [p for p in others if labels[p] == labels[i]]
        terms = [math.log(math.exp(unit[i] @ unit[p] / temperature) / total) for p in positives]
        losses.append(-sum(terms) / len(terms) if terms else 0.0)
    return losses


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_loss_is_that_of_the_formula(temperature: float) -> None:
    vectors = np.random.default_rng(1).normal(size=(9, 5))
    labels = [0, 1, 0, 2, 2, 0, 3, 1, 2]
    found = contrastive_losses(torch.tensor(vectors), torch.tensor(labels), temperature=temperature)
    assert found.numpy() == pytest.approx(by_formula(vectors, labels, temperature), rel=1e-5)


@pytest.mark.parametrize("rows", [1, 4])
def test_without_two_rows_of_a_label_the_loss_is_zero_and_so_is_its_gradient(rows: int) -> None:
    vectors = torch.randn(rows, 5, requires_grad=True)
    losses = contrastive_losses(vectors, torch.arange(rows))
    assert losses.tolist() == [0.0] * rows
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert vectors.grad is not None
    assert vectors.grad.abs().max() == 0


SENTIMENT = HeadSpec("sentiment", "single", ("bad", "good"))
COLUMNS = columns_of([SENTIMENT, HeadSpec("topics", "multi", ("bank", "shoe"))])


def test_each_single_label_head_contrasts_its_own_rows_by_its_scale() -> None:
    objective = HeadsObjective(
        torch.nn.Module(),  # type: ignore[arg-type]
        COLUMNS,
        scales=(2.0, 1.0),
        label_weights=[None, None],
        label_smoothing=0.0,
    )
    vectors = np.random.default_rng(2).normal(size=(5, 4))
    labels = torch.tensor(
        [[0.0, 1.0, 0.0], [1.0, NAN, NAN], [NAN, 1.0, 1.0], [0.0, NAN, NAN], [1.0, NAN, NAN]]
    )
    expected = 2 * sum(by_formula(vectors[[0, 1, 3, 4]], [0, 1, 0, 1], 0.1)) / 5
    found = objective.contrast(torch.tensor(vectors), labels).item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_rows_are_paired_by_the_first_single_label_head_that_they_have() -> None:
    columns = columns_of([SENTIMENT, HeadSpec("topic", "single", ("bank", "shoe", "tea"))])
    targets = np.array([[1, 2], [NAN, 2], [1, NAN], [NAN, NAN], [NAN, 0], [0, 2]], np.float32)
    assert pairing_keys(columns, targets).tolist() == [1, 4, 1, -4, 2, 0]


def test_every_row_occurs_once_and_meets_one_of_its_label() -> None:
    keys = np.repeat(np.arange(40), 5)  # four rows of each in pairs, the fifth with another's fifth
    lengths = np.random.default_rng(1).integers(3, 30, len(keys))
    batches = PairedBatches(keys, lengths, batch_size=32, seed=7)
    first = list(batches)
    assert len(first) == len(batches)
    assert sorted(row for batch in first for row in batch) == list(range(len(keys)))
    met = [row for b in first for row in b if Counter(keys[b].tolist())[int(keys[row])] > 1]
    assert len(met) >= 160
    assert max(map(len, first)) <= 32
    assert [len(b) for b in first].count(32) == 200 // 32  # odd rows leave no batch half empty
    assert [b for b in batches] == first  # noqa: C416
    batches.set_epoch(1)
    assert list(batches) != first


def test_pairs_of_a_batch_are_of_similar_length() -> None:
    keys = np.repeat(np.arange(400), 2)
    lengths = np.repeat(np.arange(400), 2)
    for batch in PairedBatches(keys, lengths, batch_size=20, seed=1):
        assert np.ptp(lengths[batch]) == 9


def examples(rows: int, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    labels = [sorted(WORDS)[at % 3] for at in range(rows)]
    filler = ["the", "a", "my", "was"]
    texts = [
        " ".join(rng.permutation([*rng.choice(filler, 4), WORDS[label], str(rng.choice(filler))]))
        for label in labels
    ]
    return Examples(tuple(texts), tuple((label,) for label in labels), np.arange(rows))


def task(rows: int = 48) -> HeadTask:
    spec = HeadSpec("tone", "single", tuple(sorted(WORDS)))
    return HeadTask(spec, examples(rows, 1), examples(30, 2))


@pytest.fixture(scope="module")
def tiny(tiny_encoder: Path) -> PretrainedEncoder:
    return PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none")


def contrast(tiny: PretrainedEncoder, folder: Path | None, options: TrainOptions) -> float:
    """The mean loss over all training rows, by the vectors of a trained encoder or of the base."""
    known = task()
    encoder = tiny if folder is None else replace(tiny, path=folder)
    model = new_model([known], encoder, Method.FROZEN, options)
    lesson = prepare(model, [known], options)
    vectors, targets = lesson.vectors(lesson.train, options)
    return float(contrastive_losses(vectors, targets[:, 0]).mean())


@pytest.mark.parametrize("frozen_layers", [0, 1])
def test_rows_of_a_label_come_together(
    tiny: PretrainedEncoder, tmp_path: Path, frozen_layers: int
) -> None:
    """Nearer than by the heads' loss alone; with the lower states kept too."""
    plain = replace(
        QUICK, contrastive=0.0, freeze_layers=frozen_layers, keep="last", epochs=12,
        learning_rate=5e-3, head_learning_rate=5e-3,
    )  # fmt: skip
    for name, options in (("plain", plain), ("pulled", replace(plain, contrastive=1.0))):
        finetune_classifier([task()], encoder=tiny, options=options, folder=tmp_path / name)
    before = contrast(tiny, None, plain)
    alone, pulled = (contrast(tiny, tmp_path / name, plain) for name in ("plain", "pulled"))
    assert before > 3.6  # rows say nothing: log(47)
    assert 2.7 < pulled < alone < before  # 15 others of each label, all as near: log(15)
    assert pulled < 3.0


def test_the_last_weights_are_kept_where_they_are_asked_for(
    tiny: PretrainedEncoder, tmp_path: Path
) -> None:
    options = replace(QUICK, keep="last", patience=1, epochs=5)
    done = finetune_classifier([task()], encoder=tiny, options=options, folder=tmp_path / "m")
    assert (done.best_step, done.steps) == (15, 15)
    assert len(done.history) == 5
    assert done.best_metric == done.history[-1].metrics["macro_f1"]


class CutOffError(Exception):
    """Stands in for a kill."""


def test_a_run_that_was_cut_off_goes_on_only_with_the_same_weight_of_the_loss(
    tiny: PretrainedEncoder, tmp_path: Path
) -> None:
    def stop(line: str) -> None:
        if line.startswith("epoch 2"):
            raise CutOffError

    def train(weight: float, folder: str, say: object = None) -> FineTuned:
        return finetune_classifier(
            [task()],
            encoder=tiny,
            options=replace(QUICK, contrastive=weight, checkpoints=tmp_path / folder / "steps"),
            folder=tmp_path / folder / "m",
            **({"say": say} if say else {}),  # type: ignore[arg-type]
        )

    for folder, weight, resumed in (("same", 1.0, True), ("other", 0.5, False)):
        with pytest.raises(CutOffError):
            train(1.0, folder, stop)
        assert (train(weight, folder).resumed_at_step is not None) == resumed


def test_it_is_refused_where_no_row_has_exactly_one_label(
    tiny: PretrainedEncoder, tmp_path: Path
) -> None:
    rows = replace(examples(48, 1), kind="multi")
    multi = HeadTask(HeadSpec("tone", "multi", tuple(sorted(WORDS))), rows, rows)
    with pytest.raises(SettingsError) as error:
        finetune_classifier(
            [multi], encoder=tiny, options=replace(QUICK, contrastive=0.5), folder=tmp_path / "m"
        )
    assert str(error.value) == (
        "contrastive = 0.5: expected 0 where no head has exactly one label a row, and where "
        "several processes share a batch"
    )


def test_it_is_refused_where_several_processes_share_a_batch(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    with pytest.raises(SettingsError, match="several processes share a batch"):
        finetune_classifier(
            [task()], encoder=tiny, options=replace(QUICK, contrastive=1.0), folder=tmp_path / "m"
        )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"contrastive": -1.0}, "contrastive = -1.0: expected 0 or more"),
        ({"keep": "first"}, "keep = 'first': expected one of best, last"),
    ],
)
def test_values_outside_their_range_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        TrainOptions(**values)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_few_rows_a_label_are_learned_by_contrast_and_to_the_end() -> None:
    given = TrainOptions()
    few = settled(given, few=True, pairable=True)
    assert (few.contrastive, few.keep) == (1.0, "last")
    alone = settled(given, few=True, pairable=False)
    assert (alone.contrastive, alone.keep) == (0.0, "last")
    many = settled(given, few=False, pairable=True)
    assert (many.contrastive, many.keep) == (0.0, "best")
    adapter = settled(replace(given, method="lora"), few=False, pairable=True)
    assert (adapter.contrastive, adapter.keep) == (0.0, "last")
    asked = replace(given, contrastive=0.0, keep="best")
    assert settled(asked, few=True, pairable=True) == asked
    assert has_few_labels(770, 77)
    assert not has_few_labels(77 * FEW_ROWS + 1, 77)
