"""A wide teacher's views in a narrower student's width: closed forms and brute force."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ortho_group

from shared.errors import ModelError
from shared.training.student_space import Floats, StudentSpace, student_space

VIEWS, WIDE, DIM = 2, 7, 4


def drawn(rows: int, width: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.5, 3.0, size=width)
    return (rng.normal(size=(rows, width)) * scales + rng.normal(size=width)).astype(np.float32)


def test_a_teacher_that_is_its_student_turned_gives_the_student_back() -> None:
    own = drawn(60, VIEWS * DIM, 1)
    views = own.reshape(60, VIEWS, DIM)
    turned = [
        3.0 * views[:, at] @ ortho_group.rvs(WIDE, random_state=at)[:DIM] + at
        for at in range(VIEWS)
    ]
    teacher = np.stack(turned, axis=1).reshape(60, -1).astype(np.float32)
    space = student_space(teacher, own, VIEWS)
    np.testing.assert_allclose(space(teacher), own, atol=1e-4)
    np.testing.assert_allclose(space.kept, 1, atol=1e-6)


def test_the_spread_kept_is_that_of_the_largest_components() -> None:
    """Variances 16, 9, 4 and 1 along the axes, of which two stay: 25 of 30."""
    signs = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T
    teacher = (signs * [4, 3, 2, 1]).astype(np.float32)
    space = student_space(teacher, drawn(16, 2, 2), 1)
    assert space.kept.tolist() == [pytest.approx(25 / 30)]


def test_distances_stay_within_the_components() -> None:
    own, teacher = (
        drawn(40, DIM, 3),
        drawn(40, DIM, 4) @ ortho_group.rvs(WIDE, random_state=5)[:DIM],
    )
    told = student_space(teacher.astype(np.float32), own, 1)(teacher.astype(np.float32))

    def apart(vectors: Floats) -> Floats:
        return np.asarray(np.linalg.norm(vectors[:, None] - vectors, axis=2), dtype=np.float32)

    upper = np.triu_indices(40, 1)
    ratio = apart(told)[upper] / apart(teacher)[upper]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
    np.testing.assert_allclose(told.mean(0), own.mean(0), atol=1e-4)
    assert np.var(told, axis=0).sum() == pytest.approx(np.var(own, axis=0).sum(), rel=1e-3)


def test_no_other_turn_comes_nearer_to_the_student() -> None:
    own, teacher = drawn(50, DIM, 6), drawn(50, WIDE, 7)
    space = student_space(teacher, own, 1)
    told = space(teacher)
    best = np.square(told - own).sum()
    for seed in range(200):
        other = (told - space.offsets[0]) @ ortho_group.rvs(DIM, random_state=seed)
        assert np.square(other + space.offsets[0] - own).sum() >= best - 1e-3


def test_a_student_wider_than_its_teacher_is_refused() -> None:
    with pytest.raises(ModelError) as refused:
        student_space(drawn(9, 6, 1), drawn(9, 8, 2), 2)
    assert str(refused.value) == (
        "a student of 4 dimensions and a teacher of 3: the teacher must have as many or more"
    )


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    teacher = drawn(30, VIEWS * WIDE, 8)
    space = student_space(teacher, drawn(30, VIEWS * DIM, 9), VIEWS)
    space.save(tmp_path / "space.safetensors")
    read = StudentSpace.load(tmp_path / "space.safetensors")
    assert np.array_equal(read(teacher), space(teacher))
