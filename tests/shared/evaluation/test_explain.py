"""Explanations: exact where a scorer is linear, elsewhere Shapley values by definition."""

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import DataError
from shared.evaluation.explain import (
    Explanation,
    WordPart,
    contrast_of,
    explain,
    gained,
    lexical_terms,
    neural_worth,
    occlusion,
    shapley,
    text_worth,
    word_parts,
)
from shared.evaluation.text_units import segment
from shared.inference.classifier import LEXICAL, FusedClassifier, Kind

MakeClassifier = Callable[..., FusedClassifier]
TEXT = "aa bb cc dd aa"


def game(masks: NDArray[np.bool_]) -> Mapping[str, NDArray[np.float64]]:
    """Three players: 1, 2 and 4, and 8 more when the first two are both there."""
    return {"only": masks @ np.array([1.0, 2.0, 4.0]) + 8.0 * (masks[:, 0] & masks[:, 1])}


def test_a_joint_gain_is_shared_in_half() -> None:
    found = shapley(game, 3, permutations=4)["only"]
    assert found == pytest.approx([5, 6, 4])


def test_occlusion_gives_the_joint_gain_to_both() -> None:
    assert occlusion(game, 3)["only"] == pytest.approx([9, 10, 4])


def test_many_permutations_come_to_the_mean_over_all_orders() -> None:
    def worth(masks: NDArray[np.bool_]) -> Mapping[str, NDArray[np.float64]]:
        return {"only": np.sin(masks @ np.array([0.3, 1.1, 2.0, 0.7]))}

    exact = np.zeros(4)
    orders = list(permutations(range(4)))
    for order in orders:
        mask = np.zeros((1, 4), bool)
        for unit in order:
            before = float(worth(mask)["only"][0])
            mask[0, unit] = True
            exact[unit] += (float(worth(mask)["only"][0]) - before) / len(orders)
    assert shapley(worth, 4, permutations=2000)["only"] == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_lexical_terms_sum_to_the_lexical_part(kind: Kind, made: MakeClassifier) -> None:
    classifier = made(kind)
    contrast = contrast_of(classifier, TEXT, 1)
    units, grams = lexical_terms(classifier, segment(TEXT), contrast)
    margins, _ = classifier.margins([TEXT, "qqq"])
    weight = classifier.fusion.weights[LEXICAL]
    assert units.sum() == pytest.approx(
        weight * (margins[LEXICAL][0] - margins[LEXICAL][1]) @ contrast, abs=1e-5
    )
    assert abs(grams[0].part) == max(abs(gram.part) for gram in grams)


def test_the_contrast_is_the_derivative_of_the_log_odds(made: MakeClassifier) -> None:
    classifier = made()
    margins, _ = classifier.margins([TEXT])
    name = "dense"
    contrast = contrast_of(classifier, TEXT, 2)

    def log_odds(moved: NDArray[np.float32]) -> float:
        z = classifier.fusion.logits({**margins, name: margins[name] + moved})[0].astype(float)
        others = np.log(np.exp(np.delete(z, 2)).sum())
        return float(z[2] - others)

    for label in range(3):
        step = np.zeros((1, 3), np.float32)
        step[0, label] = 0.05
        slope = (log_odds(step) - log_odds(-step)) / 0.1
        assert slope == pytest.approx(classifier.fusion.weights[name] * contrast[label], abs=1e-3)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_parts_of_the_words_sum_to_those_of_the_scorers(
    kind: Kind, made: MakeClassifier
) -> None:
    classifier = made(kind, tuned=True)
    found = explain(classifier, TEXT, label="y")
    assert found.label == "y"
    assert found.probability == pytest.approx(float(classifier.predict_proba([TEXT])[0, 1]))
    assert set(found.scorers) == {"lexical", "dense", "finetuned"}
    for name, part in found.scorers.items():
        assert sum(word.scorers[name] for word in found.words) == pytest.approx(part, abs=1e-5)


def test_occlusion_is_what_is_lost_without_the_word(made: MakeClassifier) -> None:
    classifier = made()
    contrast = contrast_of(classifier, TEXT, 0)
    margins, _ = classifier.margins([TEXT, "aa bb  dd aa"])
    weighed = classifier.fusion.weights["dense"] * (margins["dense"] @ contrast)
    found = explain(classifier, TEXT, label="x", method="occlusion")
    assert found.words[2].scorers["dense"] == pytest.approx(weighed[0] - weighed[1], abs=1e-6)


def test_words_past_the_limit_get_no_neural_part(made: MakeClassifier) -> None:
    found = explain(made(), " ".join(["aa"] * 70), method="occlusion")
    assert len(found.words) == 70
    assert all(word.scorers["dense"] == 0 for word in found.words[64:])


def test_an_empty_text_has_no_words(made: MakeClassifier) -> None:
    found = explain(made(), "  ")
    assert found.words == ()
    assert found.scorers == {"lexical": 0.0, "dense": 0.0}


def test_a_worth_asked_twice_for_one_coalition_answers_twice(made: MakeClassifier) -> None:
    classifier = made()
    worth = neural_worth(classifier, segment(TEXT), contrast_of(classifier, TEXT, 0))
    mask = np.array([[True, False, True, True, True]])
    found = worth(np.repeat(mask, 3, 0))["dense"]
    assert found.shape == (3,)
    assert found[0] == found[1] == found[2]


def test_a_game_of_texts_scores_each_text_once_and_keeps_what_comes_after_the_players() -> None:
    asked: list[str] = []

    def lengths(texts: Sequence[str]) -> Mapping[str, NDArray[np.float64]]:
        asked.extend(texts)
        return {"length": np.array([float(len(text)) for text in texts])}

    segmented = segment("a bb cccc")
    worth = text_worth(lengths, segmented)
    masks = np.array([[True, False], [False, False], [True, False]])
    assert worth(masks)["length"].tolist() == [7, 4, 7]
    assert sorted(asked) == ["a  cccc", "cccc"]
    assert gained(worth, 3) == {"length": 9}


def test_units_without_a_part_have_one_of_zero() -> None:
    words = word_parts(segment("a b c"), {"dense": np.array([2.0, -1.0]), "other": np.ones(3)})
    assert [word.total for word in words] == [3, 0, 1]
    assert words[2].scorers == {"dense": 0, "other": 1}


def test_an_unknown_label_is_refused_with_those_there_are(made: MakeClassifier) -> None:
    with pytest.raises(DataError, match=r"^label 'w' is not known .*: expected one of x, y, z$"):
        explain(made(), TEXT, label="w")


def test_the_strongest_words_are_bare_and_weigh_something() -> None:
    text = "crash: 50010 deepens & spreads today"
    parts = (2.0, 1.9, 1.0, 0.9, 0.4, -3.0)
    units = segment(text).units
    words = tuple(WordPart(unit, {"dense": part}) for unit, part in zip(units, parts, strict=True))
    assert Explanation(text, "x", 0.9, words, (), {}).strongest() == ("crash", "deepens")
    none = tuple(WordPart(unit, {"dense": -1.0}) for unit in units)
    assert Explanation(text, "x", 0.9, none, (), {}).strongest() == ()
