"""The table of token vectors: its equations against the plain ones, and what it is made from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse

from shared.inference.batches import unit_length
from shared.inference.runtime import load_embedder
from shared.modeling.encoder import Encoder
from shared.training.machine import machine_of
from shared.training.options import TrainOptions
from shared.training.table_student import (
    RIDGES,
    bags_of,
    fit_table,
    make_table,
    ridge_table,
    token_vectors,
    tokens_of,
    write_table,
)

Floats = NDArray[np.float32]


def case(texts: int, tokens: int, dim: int) -> tuple[sparse.csr_matrix, Floats, Floats]:
    """Bags of five tokens each; a start; and vectors that another table would give."""
    rng = np.random.default_rng(2)
    bags = bags_of([rng.integers(tokens, size=5).tolist() for _ in range(texts)], tokens)
    start, hidden = rng.normal(size=(2, tokens, dim)).astype(np.float32)
    return bags, start, np.asarray(bags @ hidden, dtype=np.float32)


def test_a_bag_holds_the_share_of_each_token() -> None:
    bags = bags_of([[1, 3, 3, 0], [2]], 5)
    assert bags.toarray().tolist() == [[0.25, 0.25, 0, 0.5, 0], [0, 0, 1, 0, 0]]


@pytest.mark.parametrize("ridge", [0.01, 0.5])
def test_the_table_is_that_of_the_usual_equations(ridge: float) -> None:
    """(X^T X + ridge I) T = X^T Y + ridge T0, one unknown for each token."""
    bags, start, vectors = case(30, 12, 4)
    x = bags.toarray().astype(np.float64)
    expected = np.linalg.solve(x.T @ x + ridge * np.eye(12), x.T @ vectors + ridge * start)
    np.testing.assert_allclose(ridge_table(bags, start, vectors, ridge), expected, atol=2e-4)


def test_tokens_that_no_text_has_stay_where_they_are() -> None:
    bags, start, vectors = case(30, 12, 4)
    wider = sparse.hstack([bags, sparse.csr_matrix((30, 2), dtype=np.float32)]).tocsr()
    more = np.vstack([start, np.ones((2, 4), np.float32)])
    found = ridge_table(wider, more, vectors, 0.1)
    np.testing.assert_array_equal(found[12:], more[12:])
    assert np.abs(found[:12] - start).max() > 0.1


def test_the_ridge_is_the_best_on_texts_left_out() -> None:
    bags, start, vectors = case(200, 40, 6)
    fit = fit_table(bags, start, vectors)
    begin = start * ((bags @ start) * vectors).sum() / np.square(bags @ start).sum()
    for ridge in RIDGES:
        table = ridge_table(bags[:160], begin, vectors[:160], ridge)
        cosines = (unit_length(bags[160:] @ table) * unit_length(vectors[160:])).sum(1)
        assert fit.cosines[ridge] == pytest.approx(float(cosines.mean()), abs=1e-5)
    assert fit.cosines[fit.ridge] == max(fit.cosines.values())
    np.testing.assert_allclose(fit.table, ridge_table(bags, begin, vectors, fit.ridge), atol=1e-5)


def test_a_tokens_vector_is_that_of_the_token_alone(tiny_encoder: Path) -> None:
    encoder = Encoder.from_pretrained(tiny_encoder, prefix="good ").eval()
    machine = machine_of(TrainOptions(bf16=False))
    found = token_vectors(encoder, tokens_of(encoder), machine=machine)
    assert found.shape == (len(encoder.tokenizer), 32)
    words = ["card", "tea"]
    with torch.no_grad():
        expected = unit_length(encoder(**encoder.tokens(words)).numpy())
    rows = found[encoder.tokenizer.convert_tokens_to_ids(words)]
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_the_student_learns_its_teachers_vectors(tiny_encoder: Path, tmp_path: Path) -> None:
    """On held-out texts it is nearer than its start, and no nearer with less to learn from."""
    words = "card order money refund late lost bank profit loss shares fall rise tea cup".split()
    rng = np.random.default_rng(4)
    texts = [" ".join(rng.choice(words, size=6)) for _ in range(260)]
    encoder = Encoder.from_pretrained(tiny_encoder)
    machine = machine_of(TrainOptions(bf16=False))
    teacher = load_embedder(tiny_encoder, precision="fp32").encode(texts)
    start = token_vectors(encoder, tokens_of(encoder), machine=machine)
    bags = bags_of(tokens_of(encoder).ids(texts[200:]), len(start))
    before = float((unit_length(bags @ start) * teacher[200:]).sum(1).mean())
    cosines = {}
    for most in (20, 200):
        fit = make_table(encoder, texts[:most], teacher[:most], machine=machine)
        write_table(tmp_path / str(most), fit, encoder)
        student = load_embedder(tmp_path / str(most)).encode(texts[200:])
        cosines[most] = float((student * teacher[200:]).sum(1).mean())
    assert before < cosines[20] < cosines[200]
