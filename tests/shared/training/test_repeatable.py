"""What training on CUDA asks torch for, as far as that can be seen without a GPU."""

import os
from typing import Any

import pytest
import torch

from shared.device import CUBLAS_WORKSPACE
from shared.training.machine import repeatable, training_conditions
from shared.training.options import TrainOptions

CUDA = torch.device("cuda")


def state() -> tuple[bool, ...]:
    """Whether kernels repeat themselves, warn where there is none; which attention is allowed."""
    cuda: Any = torch.backends.cuda
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cuda.flash_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        cuda.cudnn_sdp_enabled(),
        cuda.math_sdp_enabled(),
    )


ASKED = (True, True, False, False, False, True)


def test_kernels_that_repeat_themselves_are_asked_for_and_all_is_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(CUBLAS_WORKSPACE, raising=False)
    before = state()
    assert before != ASKED
    with repeatable(CUDA):
        assert state() == ASKED
        assert os.environ[CUBLAS_WORKSPACE] == ":4096:8"
        with repeatable(CUDA):
            assert state() == ASKED
        assert state() == ASKED
        assert os.environ[CUBLAS_WORKSPACE] == ":4096:8"
    assert state() == before
    assert CUBLAS_WORKSPACE not in os.environ
    with pytest.raises(OSError, match="the training breaks off"), repeatable(CUDA):
        raise OSError("the training breaks off")
    assert state() == before
    assert CUBLAS_WORKSPACE not in os.environ


def test_what_somebody_has_set_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CUBLAS_WORKSPACE, ":16:8")
    before = state()
    torch.backends.cuda.enable_flash_sdp(False)
    torch.use_deterministic_algorithms(True)
    try:
        own = state()
        with repeatable(CUDA):
            assert state() == ASKED
            assert os.environ[CUBLAS_WORKSPACE] == ":16:8"
        assert state() == own
        assert os.environ[CUBLAS_WORKSPACE] == ":16:8"
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cuda.enable_flash_sdp(before[2])


def test_every_training_asks_for_them_where_it_computes_on_cuda(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = state()
    with training_conditions(TrainOptions(device="cpu")):
        assert state() == before
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with training_conditions(TrainOptions(device="cuda", bf16=False)):
        assert state() == ASKED
    assert state() == before
