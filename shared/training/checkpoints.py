"""Checkpoints that survive a kill: sealed with hashes once whole, and checked on the way in.

The Trainer writes a checkpoint file by file into its final folder and, asked to resume, takes the
folder with the highest number, torn or not. Here a checkpoint counts only once its manifest lies
beside it, written last and atomically; whatever has none, or has one that does not match, is
passed over for the newest that is whole.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from shared.errors import ModelError

MANIFEST = "manifest.json"
_OWN_FILES = (MANIFEST, f"{MANIFEST}.draft")
WEIGHTS = "model.safetensors"
STATE = "trainer_state.json"
PREFIX = "checkpoint-"
# Whole checkpoints kept beside the best one: the newest, and one more should the newest not read.
KEPT = 2
# Not learned by gradient, yet part of what an adapter has become (AdaLoRA's ranks so far).
ADAPTER_BUFFERS = ("ranknum",)


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint. seconds: spent on training before it, all attempts together.

    run: fingerprint of the data, options and encoder it belongs to. best: folder of the best
    checkpoint so far, perhaps this one. stopped: why training was over here, "" where it was not.
    """

    folder: Path
    step: int
    seconds: float
    run: str
    best: Path | None
    stopped: str


def seal(folder: Path, *, seconds: float, run: str, stopped: str = "") -> Checkpoint:
    """Flush every file of a finished checkpoint to disk, then write its manifest, atomically."""
    draft = folder / f"{MANIFEST}.draft"  # one may be left from a kill in this very function
    manifest = {
        "run": run,
        "seconds": seconds,
        "stopped": stopped,
        "sha256": flush_and_hash(folder),
    }
    draft.write_text(json.dumps(manifest, indent=2))
    _flush(draft)
    draft.replace(folder / MANIFEST)
    _flush(folder)
    return _described(folder, manifest)


def flush_and_hash(folder: Path) -> dict[str, str]:
    """Force every file of a checkpoint to disk; its path in the folder -> sha256."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in _OWN_FILES)
    for path in files:
        _flush(path)
    return {str(path.relative_to(folder)): _sha256(path) for path in files}


def read(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, every byte of it checked.

    Raises ModelError with the reason when it was never finished or has changed since.
    """
    if not (folder / MANIFEST).is_file():
        raise ModelError(f"{folder}: never finished, it has no {MANIFEST}")
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        expected = dict(manifest["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / MANIFEST}: not a manifest ({error})") from error
    for name, sha256 in expected.items():
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: {name} is missing")
        if _sha256(folder / name) != sha256:
            raise ModelError(f"{folder}: {name} has changed since it was written")
    return _described(folder, manifest)


def find_newest_valid(root: Path, *, run: str, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint of `root` that is whole, and whose best checkpoint is whole too.

    run: only checkpoints of this run count. say: hears about each folder that is passed over.
    """
    for folder in reversed(_folders(root)):
        try:
            found = read(folder)
            if found.run != run:
                raise ModelError(f"{folder}: made with other data, options or encoder")
            if found.best is not None and found.best != folder:
                read(found.best)
        except ModelError as error:
            say(f"Passed over a checkpoint: {error}")
        else:
            return found
    return None


def prune(root: Path, *, keep: int = KEPT) -> None:
    """Remove all but the newest `keep` whole checkpoints and the best one of the newest."""
    sealed = [folder for folder in _folders(root) if (folder / MANIFEST).is_file()]
    if not sealed:
        return
    best = json.loads((sealed[-1] / STATE).read_text())["best_model_checkpoint"]
    kept = {folder.name for folder in sealed[-keep:]}
    if best is not None:
        kept.add(Path(best).name)
    for folder in sealed:
        if folder.name not in kept:
            _remove(folder)


def go_back_to(start: Checkpoint) -> None:
    """Remove what is newer than `start`, for it was passed over: left there, a damaged one would be
    the newest that `prune` goes by. So is what was never finished. Only while nobody writes one."""
    for folder in _folders(start.folder.parent):
        if _step(folder) > start.step or not (folder / MANIFEST).is_file():
            _remove(folder)


def _remove(folder: Path) -> None:
    """Unsealed first: a kill in between leaves a folder that nobody takes for whole."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder)


def learned_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """What training changes: a frozen part is in the base encoder already."""
    return {
        name: parameter.detach().to("cpu", copy=True).contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad or any(part in name for part in ADAPTER_BUFFERS)
    }


def load_learned_state(model: nn.Module, path: Path) -> None:
    """The reverse. Raises ModelError when the file belongs to a model of another make."""
    stored = load_file(path)
    own = dict(model.named_parameters())
    expected = {n for n in own if own[n].requires_grad or any(p in n for p in ADAPTER_BUFFERS)}
    if stored.keys() != expected:
        strange = sorted(stored.keys() ^ expected)[0]
        raise ModelError(f"{path}: does not fit the model being trained, first at {strange!r}")
    with torch.no_grad():
        for name, tensor in stored.items():
            own[name].copy_(tensor)


class LearnedCheckpoints:
    """Trainer mixin: a checkpoint holds the learned weights as safetensors, and no pickled options.

    The Trainer's own way saves the frozen part again in each checkpoint, and the trainers of
    sentence-transformers write, and on resuming load, a whole model folder.
    """

    model: Any
    args: TrainingArguments
    state: TrainerState

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ARG002
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file(learned_state(self.model), folder / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        target = self.model if model is None else model
        load_learned_state(target, Path(resume_from_checkpoint) / WEIGHTS)

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(str(self.state.best_model_checkpoint))


class Sealing(TrainerCallback):  # type: ignore[misc]
    """Seals each checkpoint as soon as it is written, then removes those no longer needed.

    Also asks for one between two evaluations when the last is older than `every` seconds, but not
    at the last step of an epoch: what goes on from there would leave its evaluation out.
    """

    def __init__(
        self,
        *,
        run: str,
        every: float,
        spent: Callable[[], float],
        stopped: Callable[[TrainerState, TrainerControl], str],
    ) -> None:
        self.run = run
        self.every = every
        self.spent = spent
        self.stopped = stopped
        self._last = spent()

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        judged_next = control.should_training_stop or float(state.epoch or 0).is_integer()
        if not judged_next and self.spent() - self._last >= self.every:
            control.should_save = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        root = Path(args.output_dir)
        seal(
            root / f"{PREFIX}{state.global_step}",
            seconds=self.spent(),
            run=self.run,
            stopped=self.stopped(state, control),
        )
        prune(root)
        self._last = self.spent()


def _described(folder: Path, manifest: dict[str, Any]) -> Checkpoint:
    state = json.loads((folder / STATE).read_text())
    best = state["best_model_checkpoint"]
    return Checkpoint(
        folder=folder,
        step=int(state["global_step"]),
        seconds=float(manifest["seconds"]),
        run=str(manifest["run"]),
        best=None if best is None else folder.parent / Path(best).name,
        stopped=str(manifest["stopped"]),
    )


def _folders(root: Path) -> list[Path]:
    """Checkpoint folders by step, oldest first, whole or not."""
    found = [p for p in root.glob(f"{PREFIX}*") if p.is_dir() and p.name[len(PREFIX) :].isdigit()]
    return sorted(found, key=_step)


def _step(folder: Path) -> int:
    return int(folder.name[len(PREFIX) :])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Force a file, or a folder's list of names, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
