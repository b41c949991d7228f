"""Where models compute: on a GPU where one is found, else on the processor, or as asked for.

torch takes seconds to import and a service on int8 does without it, so it is asked for a GPU only
where the driver of one is on this machine.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from shared.errors import SettingsError

Device = Literal["auto", "cpu", "cuda", "mps"]
# Made by NVIDIA's driver, on Linux and under Windows' Linux.
DRIVER_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
# Of cuBLAS, which reads it once, before it first computes: buffers of a fixed number, without which
# its sums depend on what else is computed. Source: NVIDIA, cuBLAS, Results Reproducibility.
CUBLAS_WORKSPACE, WORKSPACE_SIZES = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


def choose_device(wanted: Device, there: Mapping[str, bool]) -> Literal["cpu", "cuda", "mps"]:
    """CUDA, then Apple's GPU, then the processor, unless one is asked for by name.

    there: which of the three this machine has.
    Raises SettingsError when the device asked for is not there.
    """
    devices: tuple[Literal["cpu", "cuda", "mps"], ...] = ("cuda", "mps", "cpu")
    found = [name for name in devices if name == "cpu" or there.get(name, False)]
    if wanted == "auto":
        return found[0]
    for name in found:
        if name == wanted:
            return name
    raise SettingsError(
        f"device = {wanted!r}: this machine has {', '.join(found)}; use auto or one of these"
    )


def serving_device(wanted: Device) -> Literal["cpu", "cuda"]:
    """Where a released model computes; Apple's GPU is for training alone.

    Raises SettingsError when the device asked for is not there.
    """
    if wanted in ("cpu", "mps"):
        return "cpu"
    if wanted == "auto" and not any(file.exists() for file in DRIVER_FILES):
        return "cpu"
    import torch

    there = {"cuda": torch.cuda.is_available()}
    return "cuda" if choose_device(wanted, there) == "cuda" else "cpu"
