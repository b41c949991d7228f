"""What this machine trains on: device, number format, threads, memory; and a quiet library."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import datasets
import torch
from transformers.utils import logging as transformers_logging

from shared.device import Device, choose_device
from shared.training.options import TrainOptions


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
