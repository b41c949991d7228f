"""Matching and pair scoring: both learn what the base cannot know, and go on after a cut."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import nn

from shared.errors import DataError, SettingsError
from shared.modeling.encoder import Encoder
from shared.modeling.text_model import TextModel
from shared.pretrained import PretrainedEncoder
from shared.training import pairs as module
from shared.training.methods import (
    MATCHING_METHODS,
    METHODS,
    MethodRecipe,
    orthogonality,
    parameter_groups,
)
from shared.training.options import Method, TrainOptions
from shared.training.pair_models import EncoderInput, WeightedRankingLoss, pair_tokens
from shared.training.pairs import (
    MATCH_METRIC,
    Pairs,
    ScoredPairs,
    finetune_matcher,
    finetune_pair_scorer,
    retrieval_of,
)

# Words that belong together for no reason a random encoder could know.
PARTNERS = [
    ("card", "tea"), ("order", "bank"), ("money", "shoe"),
    ("refund", "loss"), ("late", "cup"), ("lost", "rise"),
]  # fmt: skip
FILLER = ["the", "a", "my", "is", "was", "it", "when", "will", "please", "help"]
QUICK = TrainOptions(
    method="full",
    epochs=12,
    batch_size=8,
    learning_rate=3e-3,
    head_learning_rate=3e-3,
    patience=12,
    bf16=False,
    progress=False,
)


def phrase(rng: random.Random, word: str) -> str:
    words = [word, *rng.sample(FILLER, 2)]
    rng.shuffle(words)
    return " ".join(words)


def pairs(rows: int, seed: int) -> Pairs:
    rng = random.Random(seed)
    chosen = [PARTNERS[i % len(PARTNERS)] for i in range(rows)]
    return Pairs(
        tuple(phrase(rng, left) for left, _ in chosen),
        tuple(phrase(rng, right) for _, right in chosen),
    )


def scored(rows: int, seed: int) -> ScoredPairs:
    """A pair matches where both of its texts are about tea."""
    rng = random.Random(seed)
    lefts, rights, scores = [], [], []
    for _ in range(rows):
        true = rng.random() < 0.5
        words = ("tea", "tea") if true else rng.choice([("tea", "cup"), ("cup", "tea")])
        lefts.append(phrase(rng, words[0]))
        rights.append(phrase(rng, words[1]))
        scores.append(float(true))
    return ScoredPairs(tuple(lefts), tuple(rights), tuple(scores))


@pytest.fixture(scope="module")
def tiny(tiny_encoder: Path) -> PretrainedEncoder:
    return PretrainedEncoder("tiny", tiny_encoder, "", "0" * 64, "none")


def mrr(folder: Path, part: Pairs) -> float:
    """MRR@10 of the encoder in `folder`, without the trainer."""
    model = SentenceTransformer(modules=[EncoderInput(Encoder.from_pretrained(folder))])
    return float(retrieval_of(part)(model)[MATCH_METRIC])


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_matcher_brings_partners_together(
    tiny: PretrainedEncoder, tmp_path: Path, method: str
) -> None:
    # One validation pair a concept: only its own partner is right.
    held = pairs(len(PARTNERS), 2)
    options = replace(QUICK, method=method, learning_rate=3e-3 if method == "full" else 3e-2)
    done = finetune_matcher(
        pairs(120, 1), held, encoder=tiny, options=options, folder=tmp_path / "m"
    )
    assert mrr(tiny.path, held) < 0.7
    assert done.metric == MATCH_METRIC
    assert done.best_metric > 0.95
    assert mrr(tmp_path / "m", held) == pytest.approx(done.best_metric, abs=1e-6)


@pytest.mark.parametrize("kind", ["matcher", "scorer"])
def test_adalora_keeps_its_ranks_apart_in_every_step(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    terms: list[float] = []

    def told(model: nn.Module) -> torch.Tensor | None:
        term = orthogonality(model)
        terms.append(0.0 if term is None else term.item())
        return term

    monkeypatch.setattr("shared.training.runs.orthogonality", told)
    options = replace(QUICK, method="adalora", epochs=4)
    if kind == "matcher":
        done = finetune_matcher(
            pairs(32, 1), pairs(6, 2), encoder=tiny, options=options, folder=tmp_path / "m"
        )
    else:
        done = finetune_pair_scorer(
            scored(32, 1), scored(12, 2), encoder=tiny, options=options, folder=tmp_path / "m"
        )
    assert len(terms) == done.steps == 4 * 4
    assert 0 < terms[-1] < terms[0]


def test_given_negatives_and_weights_are_learned_from(
    tiny: PretrainedEncoder, tmp_path: Path
) -> None:
    """Pairs of nonsense with hardly any weight do not spoil the good ones."""
    good, rng = pairs(120, 1), random.Random(9)
    nonsense = tuple(phrase(rng, rng.choice(PARTNERS)[1]) for _ in good.anchors)
    mixed = Pairs(
        good.anchors * 2,
        good.positives + nonsense,
        negatives=(nonsense + good.positives)[:240],
        weights=(1.0,) * 120 + (0.001,) * 120,
    )
    done = finetune_matcher(
        mixed,
        pairs(len(PARTNERS), 2),
        encoder=tiny,
        options=replace(QUICK, epochs=7),
        folder=tmp_path / "m",
    )
    assert done.best_metric > 0.9


def test_a_pair_scorer_learns_which_texts_match(tiny: PretrainedEncoder, tmp_path: Path) -> None:
    held = scored(60, 2)
    options = replace(QUICK, epochs=6, batch_size=16)
    done = finetune_pair_scorer(
        scored(160, 1), held, encoder=tiny, options=options, folder=tmp_path / "m"
    )
    assert done.metric == "average_precision"
    assert done.best_metric > 0.95
    model = TextModel.load(tmp_path / "m")
    tokens = pair_tokens(model.encoder, list(held.lefts), list(held.rights))
    with torch.no_grad():
        scores = model(**tokens)["match"][:, 0].sigmoid()
    truth = torch.tensor(held.scores)
    assert ((scores > 0.5) == truth.bool()).float().mean() > 0.9


@pytest.mark.parametrize("kind", ["matcher", "scorer"])
def test_a_scorer_learns_at_the_rates_of_classification_and_a_matcher_at_its_own(
    kind: str, tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[MethodRecipe] = []

    def groups(model: nn.Module, recipe: MethodRecipe, options: TrainOptions) -> Any:
        asked.append(recipe)
        return parameter_groups(model, recipe, options)

    monkeypatch.setattr(module, "parameter_groups", groups)
    options = replace(QUICK, learning_rate=None, head_learning_rate=None, epochs=1)
    given: dict[str, Any] = {"encoder": tiny, "options": options, "folder": tmp_path / "m"}
    if kind == "matcher":
        finetune_matcher(pairs(20, 1), pairs(10, 2), **given)
        assert asked == [MATCHING_METHODS[Method.FULL]]
    else:
        finetune_pair_scorer(scored(20, 1), scored(10, 2), **given)
        (recipe,) = asked
        assert recipe.learning_rate == METHODS[Method.FULL].learning_rate
        assert (recipe.epochs, recipe.batch_size) == (3, 64)


def test_graded_scores_are_measured_by_rank_correlation(
    tiny: PretrainedEncoder, tmp_path: Path
) -> None:
    part = scored(40, 1)
    graded = replace(part, scores=tuple(0.2 + 0.6 * score for score in part.scores))
    done = finetune_pair_scorer(
        graded, graded, encoder=tiny, options=replace(QUICK, epochs=1), folder=tmp_path / "m"
    )
    assert done.metric == "spearman"


def test_equal_weights_give_the_librarys_loss() -> None:
    model = nn.Module()
    torch.manual_seed(0)
    embeddings = [torch.randn(6, 8) for _ in range(3)]
    ours = WeightedRankingLoss(model)
    library = MultipleNegativesRankingLoss(model)
    torch.testing.assert_close(
        ours.compute_loss_from_embeddings(embeddings, torch.ones(6)),
        library.compute_loss_from_embeddings(embeddings, torch.ones(6)),
    )
    # A pair of weight 0 is a negative for the others and nothing else.
    weights = torch.tensor([2.0, 2.0, 2.0, 0.0, 0.0, 0.0])
    scores = 20 * nn.functional.cosine_similarity(
        embeddings[0][:3, None], torch.cat(embeddings[1:])[None], dim=2
    )
    expected = nn.functional.cross_entropy(scores, torch.arange(3))
    torch.testing.assert_close(ours.compute_loss_from_embeddings(embeddings, weights), expected)


def test_a_matcher_cut_off_goes_on_to_the_same_weights(
    tiny: PretrainedEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(QUICK, epochs=2, checkpoint_minutes=0.0)
    part, held = pairs(48, 1), pairs(6, 2)

    def train(name: str) -> int | None:
        return finetune_matcher(
            part, held, encoder=tiny, options=options, folder=tmp_path / name
        ).resumed_at_step

    def cut(_: object, __: object, state: object, *___: object, **____: object) -> None:
        if getattr(state, "global_step", 0) == 9:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("shared.training.progress.TimeBudget.on_step_end", cut)
        with pytest.raises(KeyboardInterrupt):
            train("cut")
    assert train("cut") == 8
    assert train("whole") is None
    one = Encoder.from_pretrained(tmp_path / "cut").state_dict()
    two = Encoder.from_pretrained(tmp_path / "whole").state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_what_cannot_be_learned_from_is_refused(tiny: PretrainedEncoder, tmp_path: Path) -> None:
    def refused(kind: type[Exception], make: object) -> str:
        with pytest.raises(kind) as caught:
            make()  # type: ignore[operator]
        return str(caught.value)

    assert refused(DataError, lambda: Pairs(("a",), ("b", "c"))) == (
        "pairs of unequal columns: 1, 2, 1 entries"
    )
    assert refused(DataError, lambda: Pairs(("a", "b"), ("c", " "))) == (
        "pair 2 has an empty text: give it a text or remove the pair"
    )
    assert refused(DataError, lambda: Pairs(("a",), ("b",), weights=(0.0,))) == (
        "a pair has the weight 0.0: expected more than 0"
    )
    assert refused(DataError, lambda: ScoredPairs(("a",), ("b",), (1.5,))) == (
        "pair 1 has the score 1.5: expected 0 to 1"
    )
    frozen = replace(QUICK, method="frozen")
    assert refused(
        SettingsError,
        lambda: finetune_matcher(
            pairs(2, 1), pairs(2, 1), encoder=tiny, options=frozen, folder=tmp_path / "m"
        ),
    ) == (
        "method = 'frozen': a frozen encoder has nothing to learn from pairs; "
        "use full, lora or auto"
    )
    assert (
        refused(
            DataError,
            lambda: finetune_matcher(
                Pairs((), ()), pairs(2, 1), encoder=tiny, options=QUICK, folder=tmp_path / "m"
            ),
        )
        == "no pair in the training part: nothing can be learned or measured"
    )
