"""The benchmark of explanations: every way on the same texts, random order as the zero."""

from pathlib import Path

from pipelines.benchmark_explain import RANDOM, measure_ways, truth_lines
from shared.inference.runtime import load_embedder
from shared.modeling.encoder import Encoder
from shared.training.examples import from_rows
from shared.training.fusion import fit_fused

QUESTIONS = {
    "card": ("lost card", "card lost not good", "my card is lost", "the card", "bad card"),
    "order": ("my order", "where is the order", "order late", "late order", "when order"),
}
TEXTS = ["my card is lost help", "please where is my order", "the card", "tea"]


def test_every_way_is_measured_and_the_exact_terms_beat_chance(
    tiny_encoder: Path,
) -> None:
    rows = [(text, (label,)) for label, texts in QUESTIONS.items() for text in texts]
    examples = from_rows([text for text, _ in rows], [label for _, label in rows], "single")
    embedder = load_embedder(tiny_encoder, precision="fp32", threads=1)
    classifier = fit_fused(examples, embedder=embedder, threads=1, seed=1).classifier
    found = measure_ways(classifier, Encoder.from_pretrained(tiny_encoder).eval(), TEXTS, seed=1)
    assert [row.way for row in found] == [
        RANDOM,
        "lexical terms alone",
        "with integrated gradients",
        "with occlusion",
        "with Shapley values",
    ]
    assert found[0].gain.value == 0
    assert found[1].gain.value > 0
    for row in found:
        assert 0 <= row.deletion.value <= 1
        assert row.deletion.low <= row.deletion.value <= row.deletion.high
    lines = list(truth_lines(found))
    assert len(lines) == 6
    assert len({len(line) for line in lines}) == 1
