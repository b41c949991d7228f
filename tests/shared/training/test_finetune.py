"""Fine-tuning classifiers: each objective learns, every method keeps its contract, budgets hold."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from shared.errors import DataError, SettingsError
from shared.modeling.heads import HeadSpec
from shared.modeling.text_model import TextModel
from shared.pretrained import PretrainedEncoder
from shared.training.examples import Examples
from shared.training.finetune import (
    HeadTask,
    TrainOptions,
    finetune_classifier,
    new_model,
    new_trainer,
    prepare,
)
from shared.training.methods import METHODS, orthogonality
from shared.training.options import ClassWeights, Method

FILLER = "the a my is was where how late when will it help please hello".split()
TONE = {"bad": ["loss", "lost", "fall"], "dull": ["tea", "cup"], "good": ["profit", "rise"]}
TOPICS = {"bank": ["bank", "money"], "shop": ["shoe", "order"], "news": ["news", "shares"]}

QUICK = TrainOptions(
    epochs=12,
    batch_size=16,
    learning_rate=5e-3,
    head_learning_rate=5e-3,
    patience=12,
    bf16=False,
    progress=False,
    seed=3,
)


def sentence(rng: random.Random, words: list[str]) -> str:
    words = words + rng.sample(FILLER, rng.randint(2, 6))
    rng.shuffle(words)
    return " ".join(words)


def tones(rows: int, seed: int) -> Examples:
    rng = random.Random(seed)
    labels = [rng.choice(sorted(TONE)) for _ in range(rows)]
    texts = [sentence(rng, [rng.choice(TONE[label])]) for label in labels]
    return Examples(tuple(texts), tuple((label,) for label in labels), np.arange(rows))


def topics(rows: int, seed: int) -> Examples:
    rng = random.Random(seed)
    labels = [tuple(t for t in sorted(TOPICS) if rng.random() < 0.5) for _ in range(rows)]
    texts = [sentence(rng, [rng.choice(TOPICS[t]) for t in row]) for row in labels]
    return Examples(tuple(texts), labels=tuple(labels), groups=np.arange(rows), kind="multi")


def order_matters(rows: int, seed: int) -> Examples:
    """What no bag of words can tell: which of the same two words comes first."""
    rng = random.Random(seed)
    labels = [rng.choice(["red", "blue"]) for _ in range(rows)]
    texts = [f"{a} {'blue' if a == 'red' else 'red'} {rng.choice(FILLER)}" for a in labels]
    return Examples(tuple(texts), tuple((label,) for label in labels), np.arange(rows))


TONE_TASK = HeadTask(HeadSpec("tone", "single", tuple(sorted(TONE))), tones(160, 1), tones(60, 2))
TOPIC_TASK = HeadTask(
    HeadSpec("topics", "multi", tuple(sorted(TOPICS))), topics(160, 3), topics(60, 4)
)


@pytest.fixture(scope="module")
def tiny(tiny_encoder: Path) -> PretrainedEncoder:
    return PretrainedEncoder(
        name="tiny", path=tiny_encoder, prefix="", sha256="0" * 64, licence="none"
    )


def logits_of(folder: Path, texts: tuple[str, ...]) -> dict[str, Tensor]:
    model = TextModel.load(folder)
    with torch.no_grad():
        found: dict[str, Tensor] = model(**model.encoder.tokens(list(texts)))
    return found


def test_a_single_label_is_learned(tiny: PretrainedEncoder, tmp_path: Path) -> None:
    spec = HeadSpec("order", "single", ("blue", "red"))
    task = HeadTask(spec, order_matters(200, 1), order_matters(100, 2))
    done = finetune_classifier(
        [task],
        encoder=tiny,
        options=replace(QUICK, method="full", epochs=25),
        folder=tmp_path / "m",
    )
    assert done.best_metric > 0.97
    guess = logits_of(tmp_path / "m", task.validation.texts)["order"].argmax(1)
    truth = [spec.labels.index(label) for label in task.validation.single]
    assert (guess == torch.tensor(truth)).float().mean() > 0.97


def test_several_labels_are_learned(tiny: PretrainedEncoder, tmp_path: Path) -> None:
    done = finetune_classifier(
        [TOPIC_TASK], encoder=tiny, options=replace(QUICK, method="full"), folder=tmp_path / "m"
    )
    assert done.best_metric > 0.97


def test_two_heads_with_data_of_their_own_are_learned_together(
    tiny: PretrainedEncoder, tmp_path: Path
) -> None:
    done = finetune_classifier(
        [TONE_TASK, TOPIC_TASK],
        encoder=tiny,
        options=replace(QUICK, method="full"),
        folder=tmp_path / "m",
    )
    best = max(done.history, key=lambda e: e.metrics["macro_f1"]).metrics
    assert best["tone_macro_f1"] > 0.95
    assert best["topics_macro_f1"] > 0.95
    assert set(logits_of(tmp_path / "m", ("tea",))) == {"tone", "topics"}


def test_frozen_beats_chance_by_far(tiny: PretrainedEncoder, tmp_path: Path) -> None:
    done = finetune_classifier(
        [TONE_TASK], encoder=tiny, options=TrainOptions(method="frozen"), folder=tmp_path / "m"
    )
    assert done.best_metric > 0.7  # chance is a third
    assert done.trained_parameters == 3 * 32 + 3


@pytest.fixture(scope="module")
def twice(
    tiny: PretrainedEncoder, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Method], tuple[Path, Path]]:
    """Folders of two runs of a method with the same seed, trained once for the module."""
    known: dict[Method, tuple[Path, Path]] = {}

    def trained(method: Method) -> tuple[Path, Path]:
        if method not in known:
            root = tmp_path_factory.mktemp(method.value)
            for name in ("first", "second"):
                finetune_classifier(
                    [TONE_TASK],
                    encoder=tiny,
                    options=replace(QUICK, method=method.value, epochs=3),
                    folder=root / name,
                )
            known[method] = root / "first", root / "second"
        return known[method]

    return trained


@pytest.mark.parametrize("method", METHODS)
def test_every_method_comes_out_the_same_with_the_same_seed(
    twice: Callable[[Method], tuple[Path, Path]], method: Method
) -> None:
    first, second = twice(method)
    for name in ("model.safetensors", "heads.safetensors"):
        one, two = load_file(first / name), load_file(second / name)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_saves_what_it_measured(
    twice: Callable[[Method], tuple[Path, Path]], method: Method
) -> None:
    folder, _ = twice(method)
    record = json.loads((folder / "training.json").read_text())
    guess = logits_of(folder, TONE_TASK.validation.texts)["tone"].argmax(1)
    truth = torch.tensor([sorted(TONE).index(label) for label in TONE_TASK.validation.single])
    best = next(e for e in record["history"] if e["step"] == record["best_step"])
    assert (guess == truth).float().mean().item() == pytest.approx(best["metrics"]["accuracy"])
    assert record["best_metric"] == best["metrics"]["macro_f1"]
    assert record["method"] == method.value


@pytest.mark.parametrize("method", METHODS)
def test_every_method_changes_the_encoder_only_if_it_says_so(
    twice: Callable[[Method], tuple[Path, Path]], method: Method, tiny: PretrainedEncoder
) -> None:
    folder, _ = twice(method)
    base, tuned = (
        load_file(tiny.path / "model.safetensors"),
        load_file(folder / "model.safetensors"),
    )
    same = all(torch.equal(base[key], tuned[key]) for key in tuned if key in base)
    assert same == METHODS[method].cached


def test_adalora_keeps_its_ranks_apart_in_training_and_is_not_judged_by_it(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(QUICK, method="adalora")
    model = new_model([TONE_TASK], tiny, Method.ADALORA, options)
    lesson = prepare(model, [TONE_TASK], options)
    trainer = new_trainer(lesson, Method.ADALORA, options, tmp_path / "m")
    batch = next(iter(trainer.get_train_dataloader()))
    term = orthogonality(model)
    assert term is not None
    assert term > 1  # ranks begin far from orthonormal

    def loss(*, training: bool) -> Tensor:
        torch.manual_seed(1)  # the same dropout each time
        trainer.model.train(training)
        found: Tensor = trainer.compute_loss(trainer.model, dict(batch))
        return found

    with_term, judged = loss(training=True), loss(training=False)
    with_term.backward()  # type: ignore[no-untyped-call]
    apart = {name: p for name, p in model.named_parameters() if ".lora_A" in name}
    apart |= {name: p for name, p in model.named_parameters() if ".lora_B" in name}
    assert apart
    # Without the term nothing reaches them yet: they are multiplied by E, which begins at zero.
    assert all(p.grad is not None and p.grad.any() for p in apart.values())
    trainer.model.zero_grad()
    monkeypatch.setattr("shared.training.runs.orthogonality", lambda _: None)
    without = loss(training=True)
    torch.testing.assert_close(with_term, without + term)
    without.backward()  # type: ignore[no-untyped-call]
    assert not any(p.grad is not None and p.grad.any() for p in apart.values())
    torch.testing.assert_close(judged, loss(training=False))


def test_a_result_folder_holds_no_pickle_and_no_checkpoint(
    twice: Callable[[Method], tuple[Path, Path]],
) -> None:
    folder, _ = twice(Method.FULL)
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".safetensors", ".txt"}
    assert not folder.with_name(f"{folder.name}.training").exists()


def test_the_best_evaluation_is_kept_and_a_standstill_stops_the_run(
    tiny: PretrainedEncoder, tmp_path: Path
) -> None:
    said: list[str] = []
    done = finetune_classifier(
        [TONE_TASK],
        encoder=tiny,
        options=replace(QUICK, method="full", epochs=60, patience=2, metric="accuracy"),
        folder=tmp_path / "m",
        say=said.append,
    )
    values = [e.metrics["accuracy"] for e in done.history]
    assert done.stopped_because == "the validation part has stopped improving"
    assert len(values) < 60
    assert done.best_metric == max(values)
    assert done.history[values.index(max(values))].step == done.best_step
    assert len(values) == values.index(max(values)) + 3  # two without a gain, then the end
    assert said[0] == "Method: full, asked for"
    assert sum(line.startswith("epoch ") for line in said) == len(values)


def test_a_time_budget_ends_the_run_and_says_so(tiny: PretrainedEncoder, tmp_path: Path) -> None:
    ticks = count()  # a clock that runs one second each time it is read
    done = finetune_classifier(
        [TONE_TASK],
        encoder=tiny,
        options=replace(QUICK, method="full", epochs=500, patience=500, minutes=0.6),
        folder=tmp_path / "m",
        clock=lambda: float(next(ticks)),
    )
    assert done.stopped_because == "the 0.6 minutes for fine-tuning are used up"
    assert done.steps < 500 * 10
    assert done.history[-1].step == done.steps  # measured and saved before the end
    assert (tmp_path / "m" / "heads.safetensors").is_file()


def test_tensorboard_gets_the_curves(tiny: PretrainedEncoder, tmp_path: Path) -> None:
    accumulators = import_module("tensorboard.backend.event_processing.event_accumulator")

    finetune_classifier(
        [TONE_TASK],
        encoder=tiny,
        options=replace(QUICK, method="full", epochs=2, logdir=tmp_path / "logs"),
        folder=tmp_path / "m",
    )
    events = accumulators.EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert {"train/loss", "eval/macro_f1", "train/learning_rate"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("eval/macro_f1")) == 2


def test_nothing_is_printed_by_the_libraries(
    tiny: PretrainedEncoder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    finetune_classifier(
        [TONE_TASK],
        encoder=tiny,
        options=replace(QUICK, method="lora", epochs=1),
        folder=tmp_path / "m",
    )
    assert capfd.readouterr() == ("", "")


def test_class_weights_lift_the_rare_label(tiny: PretrainedEncoder, tmp_path: Path) -> None:
    """Two labels that share their words, 9 to 1, so that the model can tell their shares only."""
    rng = random.Random(5)
    rows = ["rare"] * 20 + ["often"] * 180
    texts = tuple(sentence(rng, ["tea"]) for _ in rows)
    part = Examples(texts, tuple((label,) for label in rows), np.arange(len(rows)))
    task = HeadTask(HeadSpec("share", "single", ("often", "rare")), part, part)

    def mean_share(class_weights: ClassWeights) -> float:
        folder = tmp_path / class_weights
        options = TrainOptions(method="frozen", class_weights=class_weights, label_smoothing=0.0)
        finetune_classifier([task], encoder=tiny, options=options, folder=folder)
        return logits_of(folder, texts)["share"].softmax(1)[:, 1].mean().item()

    # The mean probability of logistic regression is the share of the label among its rows.
    assert mean_share("none") == pytest.approx(0.1, abs=0.01)
    assert mean_share("balanced") == pytest.approx(0.5, abs=0.1)


def test_what_cannot_be_learned_is_refused(tiny: PretrainedEncoder, tmp_path: Path) -> None:
    nothing = Examples((), (), np.arange(0))
    unseen = HeadTask(HeadSpec("tone", "single", ("bad", "odd")), tones(9, 1), tones(9, 1))
    cases: list[tuple[list[HeadTask], str]] = [
        ([], "nothing to learn: at least one head with examples is needed"),
        ([TONE_TASK, TONE_TASK], "two heads are called 'tone': each needs a name of its own"),
        ([replace(TONE_TASK, train=nothing)], "head 'tone' has an empty training part"),
        ([replace(TONE_TASK, validation=nothing)], "head 'tone' has an empty validation part"),
        (
            [unseen],
            "head 'tone': the label 'odd' has no row in the training part; "
            "leave it out of the head or give it examples",
        ),
    ]
    for tasks, message in cases:
        with pytest.raises(DataError) as caught:
            finetune_classifier(tasks, encoder=tiny, options=QUICK, folder=tmp_path / "m")
        assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a GPU says")
def test_a_device_that_is_not_there_is_refused(tiny: PretrainedEncoder, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        finetune_classifier(
            [TONE_TASK], encoder=tiny, options=replace(QUICK, device="cuda"), folder=tmp_path / "m"
        )
    assert str(caught.value) == "device = 'cuda': this machine has cpu; use auto or one of these"
