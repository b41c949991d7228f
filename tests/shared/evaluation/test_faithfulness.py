"""Areas by hand, integrated gradients by their axiom, and true explanations of a real encoder."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.evaluation.explain import contrast_of, explain
from shared.evaluation.faithfulness import areas, strongest_first
from shared.evaluation.integrated_gradients import (
    dense_head,
    finetuned_head,
    integrated_gradients,
)
from shared.evaluation.text_units import segment
from shared.inference.classifier import DENSE, FusedClassifier
from shared.inference.runtime import load_embedder
from shared.modeling.encoder import Encoder
from shared.training.examples import from_rows
from shared.training.fusion import fit_fused

MakeClassifier = Callable[..., FusedClassifier]

QUESTIONS = {
    "lost card": (
        ("my card", "the credit card", "my debit card", "the bank card"),
        ("is lost", "was stolen", "is gone", "is missing"),
    ),
    "track order": (
        ("where is", "when will i get", "please track", "any news of"),
        ("my order", "my parcel", "the package", "the delivery"),
    ),
    "refund": (
        ("i want", "please give me", "when do i get", "how do i claim"),
        ("a refund", "my money back", "the refund", "a repayment"),
    ),
}


@pytest.fixture(scope="module")
def trained(minilm: Path) -> tuple[FusedClassifier, Encoder]:
    """Three intents learned on the packaged encoder in fp32, and the encoder itself."""
    rows = [
        (f"{first} {second}", (label,))
        for label, (firsts, seconds) in QUESTIONS.items()
        for first, second in product(firsts, seconds)
    ]
    examples = from_rows([text for text, _ in rows], [label for _, label in rows], "single")
    embedder = load_embedder(minilm, precision="fp32", threads=1)
    fitted = fit_fused(examples, embedder=embedder, threads=1)
    return fitted.classifier, Encoder.from_pretrained(minilm).eval()


def test_areas_are_the_trapezoids_of_the_probabilities(made: MakeClassifier) -> None:
    classifier = made()
    p = classifier.predict_proba(["aa dd", "aa", "dd", ""])[:, 1]
    whole, first, second, none = (float(x) for x in p)
    (found,) = areas(classifier, segment("aa dd"), 1, [np.array([1, 0])])
    # Strongest is dd: deleted first, and inserted first.
    assert found.deletion == pytest.approx((whole / 2 + first + none / 2) / 2, abs=1e-6)
    assert found.insertion == pytest.approx((none / 2 + second + whole / 2) / 2, abs=1e-6)


def test_an_empty_text_has_its_own_probability_as_area(made: MakeClassifier) -> None:
    (found,) = areas(made(), segment(""), 0, [np.arange(0)])
    assert (
        found.deletion == found.insertion == pytest.approx(float(made().predict_proba([""])[0, 0]))
    )


def test_gradients_of_a_head_sum_to_what_it_gains(tiny_encoder: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_encoder, prefix="the ").eval()
    direction = torch.linspace(-1, 1, 4 * encoder.dim)

    def head(features: Tensor) -> Tensor:
        return torch.tanh(features @ direction)

    text = "where is my lost card"
    found = integrated_gradients(encoder, head, segment(text), steps=400)
    ids, mask = (encoder.tokens([text])[name] for name in ("input_ids", "attention_mask"))
    blank = ids.clone()
    blank[:, 2:-1] = encoder.tokenizer.pad_token_id  # all but [CLS], the prefix and [SEP]
    with torch.no_grad():
        gained = head(encoder.features(ids, mask)) - head(encoder.features(blank, mask))
    assert found.shape == (5,)
    assert found.sum() == pytest.approx(float(gained), abs=2e-3)


def test_the_differentiable_head_is_the_scorer_that_serves(
    trained: tuple[FusedClassifier, Encoder],
) -> None:
    classifier, encoder = trained
    text = "my card is missing"
    contrast = contrast_of(classifier, text, 0)
    margins, _ = classifier.margins([text])
    with torch.no_grad():
        features = encoder.features(**encoder.tokens([text]))
        found = float(dense_head(classifier, contrast)(features))
    expected = classifier.fusion.weights[DENSE] * float(margins[DENSE][0] @ contrast)
    assert found == pytest.approx(expected, abs=1e-3)


def test_without_a_finetuned_scorer_there_is_no_head(made: MakeClassifier) -> None:
    with pytest.raises(ValueError, match="no fine-tuned scorer"):
        finetuned_head(made(), np.ones(3))
    features = np.array([[0.2, -0.1, 0.4, 1.0]], np.float32)
    tuned = made(tuned=True)
    assert tuned.tuned is not None
    contrast = np.array([1.0, -1.0, 0.0])
    expected = 0.3 * tuned.tuned(features)[0][0] @ contrast
    found = finetuned_head(tuned, contrast)(torch.from_numpy(features))
    assert float(found[0]) == pytest.approx(float(expected), abs=1e-5)


def test_explanations_of_the_real_encoder_beat_random_order(
    trained: tuple[FusedClassifier, Encoder],
) -> None:
    classifier, encoder = trained
    rng = np.random.default_rng(0)
    texts = [
        "hello there, please tell me where my parcel is",
        "good morning, my debit card was stolen on the train",
        "hi, it broke so i want my money back please",
    ]
    gains: dict[str, list[float]] = {"shapley": [], "occlusion": [], "gradients": [], "random": []}
    for text in texts:
        one = segment(text)
        target = int(classifier.predict_proba([text]).argmax())
        parts = {
            name: np.array([w.total for w in explain(classifier, text, method=name).words])
            for name in ("shapley", "occlusion")
        }
        head = dense_head(classifier, contrast_of(classifier, text, target))
        parts["gradients"] = integrated_gradients(encoder, head, one)
        orders = {name: [strongest_first(part)] for name, part in parts.items()}
        orders["random"] = [rng.permutation(len(one.units)) for _ in range(5)]
        for name, several in orders.items():
            found = areas(classifier, one, target, several)
            gains[name].append(float(np.mean([a.insertion - a.deletion for a in found])))
    mean = {name: float(np.mean(values)) for name, values in gains.items()}
    assert mean["shapley"] > mean["random"] + 0.2
    assert mean["occlusion"] > mean["random"] + 0.15
    assert mean["gradients"] > mean["random"] + 0.1
