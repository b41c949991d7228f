"""The two products that are timed are the same product, and both are timed."""

import numpy as np

from shared.inference.products import FP32, INT8, product_model, time_products
from shared.inference.runtime import one_thread_session
from shared.inference.token_quantisation import quantise_columns


def test_the_int8_product_is_that_of_the_rounded_matrix() -> None:
    """Activations so small that no processor saturates: the integers are exact."""
    rng = np.random.default_rng(3)
    matrix = rng.standard_normal((16, 5), dtype=np.float32)
    x = rng.integers(128 - 8, 128 + 8, size=(7, 16)).astype(np.uint8)
    (found,) = one_thread_session(product_model(matrix)).run(None, {"x": x})
    weights, scale = quantise_columns(matrix)
    expected = (x.astype(np.int64) - 128) @ weights.astype(np.int64) * scale
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_both_products_are_timed() -> None:
    plain, small = time_products(rows=8, inner=16, outer=8, rounds=3)
    assert (plain.name, small.name) == (FP32, INT8)
    assert plain.texts_per_second > 0
    assert small.texts_per_second > 0
