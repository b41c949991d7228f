"""What this machine trains on: device, number format, threads, memory; kernels that repeat
themselves, and a quiet library."""

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import datasets
import torch
from transformers.utils import logging as transformers_logging

from shared.device import CUBLAS_WORKSPACE, WORKSPACE_SIZES, Device, choose_device
from shared.training.options import TrainOptions

_cuda = torch.backends.cuda
# Attention in fused kernels: whether they may be used, and how to say so.
_ATTENTION: tuple[tuple[Callable[[], bool], Callable[[bool], None]], ...] = (
    (_cuda.flash_sdp_enabled, _cuda.enable_flash_sdp),
    (_cuda.mem_efficient_sdp_enabled, _cuda.enable_mem_efficient_sdp),
    (_cuda.cudnn_sdp_enabled, _cuda.enable_cudnn_sdp),
)


@dataclass(frozen=True)
class Machine:
    """Where a run computes. bf16: matrix products in that format, weights and losses in fp32."""

    device: torch.device
    bf16: bool

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


def machine_of(options: TrainOptions) -> Machine:
    """What these options mean on this machine."""
    device = torch_device(options.device)
    return Machine(device, bf16_pays(device) if options.bf16 is None else options.bf16)


def torch_device(wanted: Device) -> torch.device:
    """See shared.device.choose_device."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return torch.device(choose_device(wanted, there))


def bf16_pays(device: torch.device) -> bool:
    """Whether bf16 is in the hardware: emulated, it is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # avx512_bf16 came with Cooper Lake and Zen 4, amx_bf16 with Sapphire Rapids.
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def peak_memory_mb(device: torch.device) -> float:
    """The most this process has held so far, in MiB: on the GPU where it trains there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / 2**20 if sys.platform == "darwin" else held / 2**10  # bytes there, KiB on Linux


def on_terminal() -> bool:
    """Whether a progress bar would be seen by a person."""
    return sys.stderr.isatty()


@contextmanager
def threads_limited(threads: int | None) -> Iterator[None]:
    """Run the block with so many CPU threads; None leaves the setting alone."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Run the block with kernels that give the same bits for the same seed, as far as there are.

    Processors have no others. On CUDA an operation that has none warns and goes on. What is set is
    put back when the block is over.
    """
    if device.type != "cuda":
        yield
        return
    workspace = os.environ.get(CUBLAS_WORKSPACE)
    wanted = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    attention = [enabled() for enabled, _ in _ATTENTION]
    # Too late where something has computed on CUDA: pipelines/cli.py sets it before that.
    os.environ.setdefault(CUBLAS_WORKSPACE, WORKSPACE_SIZES)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Told to warn only, these add their gradients up in any order; plain attention does not.
    for _, enable in _ATTENTION:
        enable(False)
    try:
        yield
    finally:
        for (_, enable), before in zip(_ATTENTION, attention, strict=True):
            enable(before)
        torch.use_deterministic_algorithms(wanted, warn_only=warned)
        if workspace is None:
            os.environ.pop(CUBLAS_WORKSPACE, None)


@contextmanager
def training_conditions(options: TrainOptions) -> Iterator[None]:
    """Run the block as every training is run: its threads, repeatable, in silence.

    Raises SettingsError when the device asked for is not there.
    """
    device = machine_of(options).device
    with threads_limited(options.threads), repeatable(device), quiet_libraries():
        yield


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """The libraries keep their warnings and their loading and writing bars to themselves."""
    level = transformers_logging.get_verbosity()
    shown = transformers_logging.is_progress_bar_enabled()
    mapped = not datasets.are_progress_bars_disabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if shown:
            transformers_logging.enable_progress_bar()
        if mapped:
            datasets.enable_progress_bars()
