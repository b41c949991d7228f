"""Copies of training rows are found again from signatures that hold no text."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from shared.errors import ModelError
from shared.evaluation.leakage import FILE, HASHES, NEAR, TrainingRows, _signatures
from shared.near_duplicates import near_duplicate_key

WORDS = (
    "parcel order refund money card payment address invoice delivery voucher account password "
    "return exchange broken missing late cancel change update receipt store shipping weekend"
).split()


def sentences(count: int, seed: int, length: int = 9) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, length)) for _ in range(count)]


def jaccard(a: str, b: str) -> float:
    """Of the character 3- to 5-grams, by sets."""
    first, second = (
        {key[i : i + n] for n in (3, 4, 5) for i in range(len(key) - n + 1)}
        for key in (near_duplicate_key(a), near_duplicate_key(b))
    )
    return len(first & second) / len(first | second)


def test_copies_and_near_copies_are_found_and_others_are_not() -> None:
    known = sentences(300, seed=1)
    rows = TrainingRows.of(known)
    fresh = sentences(200, seed=2)
    edited = [f"{text}!" for text in known[:50]]
    spelt = [text.upper() for text in known[50:100]]
    numbered = TrainingRows.of(["your order 4711 is late"]).copies(["Your order 99 is  late"])
    assert numbered.exact.tolist() == [True]
    copies = rows.copies([*fresh, *edited, *spelt])
    assert copies.exact[:200].sum() == 0
    assert copies.exact[250:].all()
    assert copies.near[200:].all()
    assert copies.near[:200].mean() == np.mean(
        [any(jaccard(text, other) >= NEAR for other in known) for text in fresh]
    )


def test_the_estimate_is_the_jaccard_similarity_of_the_grams() -> None:
    rng = np.random.default_rng(3)
    first = sentences(150, seed=4, length=20)
    second = []
    for text in first:
        words = text.split()
        for place in rng.choice(20, int(rng.integers(0, 14)), replace=False):
            words[place] = str(rng.choice(WORDS))
        second.append(" ".join(words))
    signed, _ = _signatures([near_duplicate_key(text) for text in [*first, *second]])
    equal = (signed[:150] == signed[150:]).mean(1)
    estimate = (equal - 1 / 256) / (1 - 1 / 256)
    true = np.array([jaccard(a, b) for a, b in zip(first, second, strict=True)])
    assert true.std() > 0.1
    error = estimate - true
    assert abs(error.mean()) < 4 * 0.044 / np.sqrt(150)
    assert np.sqrt((error**2).mean()) < 1.3 * 0.044


def test_what_is_near_is_what_a_comparison_of_all_pairs_finds() -> None:
    known = sentences(120, seed=5)
    asked = [f"{a} {b.split()[0]}" for a, b in pairwise(known)]
    asked += [" ".join(text.split()[:6]) for text in known] + sentences(60, seed=6)
    rows = TrainingRows.of(known)
    mine, _ = _signatures([near_duplicate_key(text) for text in asked])
    wanted = int(np.ceil(HASHES * (NEAR * (1 - 1 / 256) + 1 / 256)))
    brute = np.array([((row == rows.signatures).sum(1) >= wanted).any() for row in mine])
    assert 0 < brute.sum() < len(asked)
    assert (rows.copies(asked).near == (brute | rows.copies(asked).exact)).mean() > 0.995


def test_texts_without_grams_are_copies_only_of_themselves() -> None:
    copies = TrainingRows.of(["ok", "hello there"]).copies(["OK", "no", "", "hello there you"])
    assert copies.exact.tolist() == [True, False, False, False]
    assert not copies.near[1:3].any()


def test_signatures_are_kept_with_the_model_and_hold_no_text(tmp_path: Path) -> None:
    known = sentences(40, seed=7)
    TrainingRows.of(known).save(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    assert not any(word.encode() in content for word in WORDS)
    loaded = TrainingRows.load(tmp_path)
    assert loaded is not None
    assert loaded.copies(known).exact.all()
    assert len(content) < 40 * (HASHES + 8) + 500
    assert TrainingRows.load(tmp_path / "nowhere") is None
    (tmp_path / FILE).write_bytes(content[:100])
    with pytest.raises(ModelError, match="damaged signatures of training rows"):
        TrainingRows.load(tmp_path)
