"""Checkpoints: sealed only when whole, damaged ones passed over, the learned weights alone."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from shared.errors import ModelError
from shared.training.checkpoints import (
    MANIFEST,
    STATE,
    find_newest_valid,
    go_back_to,
    learned_state,
    load_learned_state,
    prune,
    read,
    seal,
)


def write(root: Path, step: int, *, best: int | None = None) -> Path:
    """A checkpoint's files as the Trainer leaves them, not sealed yet."""
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes([step % 256]) * 64)
    best_folder = None if best is None else f"/moved/since/checkpoint-{best}"
    state = {"global_step": step, "best_model_checkpoint": best_folder}
    (folder / STATE).write_text(json.dumps(state))
    return folder


def sealed(root: Path, step: int, *, best: int | None = None) -> Path:
    folder = write(root, step, best=best)
    seal(folder, seconds=step * 2.0, run="a")
    return folder


def newest(root: Path, run: str = "a") -> tuple[Path | None, list[str]]:
    said: list[str] = []
    found = find_newest_valid(root, run=run, say=said.append)
    return (None if found is None else found.folder), said


def test_a_sealed_checkpoint_reads_back_with_what_was_noted(tmp_path: Path) -> None:
    folder = write(tmp_path, 7, best=7)
    seal(folder, seconds=12.5, run="a", stopped="done")
    found = read(folder)
    assert (found.step, found.seconds, found.run, found.stopped) == (7, 12.5, "a", "done")
    assert found.best == folder  # by name, also after the folder was moved


def test_the_newest_whole_checkpoint_is_found_by_number_and_not_by_name(tmp_path: Path) -> None:
    sealed(tmp_path, 9)
    ten = sealed(tmp_path, 10)
    assert newest(tmp_path) == (ten, [])


def test_a_checkpoint_without_a_manifest_is_passed_over(tmp_path: Path) -> None:
    whole = sealed(tmp_path, 1)
    torn = write(tmp_path, 2)
    found, said = newest(tmp_path)
    assert found == whole
    assert said == [f"Passed over a checkpoint: {torn}: never finished, it has no manifest.json"]


@pytest.mark.parametrize("name", ["model.safetensors", STATE])
def test_one_changed_byte_rules_a_checkpoint_out(tmp_path: Path, name: str) -> None:
    whole = sealed(tmp_path, 1)
    damaged = sealed(tmp_path, 2)
    content = bytearray((damaged / name).read_bytes())
    content[5] ^= 1
    (damaged / name).write_bytes(bytes(content))
    found, said = newest(tmp_path)
    assert found == whole
    assert said == [f"Passed over a checkpoint: {damaged}: {name} has changed since it was written"]


def test_a_missing_file_and_a_broken_manifest_rule_a_checkpoint_out(tmp_path: Path) -> None:
    whole = sealed(tmp_path, 1)
    (sealed(tmp_path, 2) / "model.safetensors").unlink()
    (sealed(tmp_path, 3) / MANIFEST).write_text('{"run": ')
    found, said = newest(tmp_path)
    assert found == whole
    assert said[0].startswith(
        f"Passed over a checkpoint: {tmp_path / 'checkpoint-3' / MANIFEST}: not a manifest"
    )
    assert said[1].endswith("checkpoint-2: model.safetensors is missing")


def test_a_checkpoint_whose_best_is_damaged_gives_way_to_an_older_one(tmp_path: Path) -> None:
    first = sealed(tmp_path, 1, best=1)
    (sealed(tmp_path, 2, best=2) / "model.safetensors").write_bytes(b"x")
    sealed(tmp_path, 3, best=2)
    assert newest(tmp_path)[0] == first


def test_checkpoints_of_another_run_do_not_count(tmp_path: Path) -> None:
    folder = sealed(tmp_path, 1)
    found, said = newest(tmp_path, run="b")
    assert found is None
    assert said == [f"Passed over a checkpoint: {folder}: made with other data, options or encoder"]


def test_a_folder_that_is_not_there_has_no_checkpoint(tmp_path: Path) -> None:
    assert newest(tmp_path / "none") == (None, [])


def test_sealing_again_after_a_kill_inside_sealing_ignores_the_draft(tmp_path: Path) -> None:
    folder = write(tmp_path, 4)
    (folder / f"{MANIFEST}.draft").write_text("half")
    seal(folder, seconds=1.0, run="a")
    assert read(folder).step == 4


def test_prune_keeps_the_two_newest_and_the_best(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        sealed(tmp_path, step, best=1)
    torn = write(tmp_path, 5)
    prune(tmp_path)
    kept = sorted(folder.name for folder in tmp_path.iterdir())
    assert kept == ["checkpoint-1", "checkpoint-3", "checkpoint-4", torn.name]
    go_back_to(read(tmp_path / "checkpoint-4"))
    assert not torn.exists()


@pytest.mark.parametrize("name", ["model.safetensors", STATE])
def test_what_goes_on_before_a_damaged_newer_checkpoint_keeps_its_own_best(
    tmp_path: Path, name: str
) -> None:
    """The damaged one is far ahead: no save of this attempt writes over it for a while."""
    sealed(tmp_path, 50, best=50)
    (sealed(tmp_path, 200, best=200) / name).write_bytes(b"{")
    start = find_newest_valid(tmp_path, run="a", say=lambda _: None)
    assert start is not None
    go_back_to(start)
    for step in (60, 70, 80):
        sealed(tmp_path, step, best=50)
        prune(tmp_path)
    kept = sorted(folder.name for folder in tmp_path.iterdir())
    assert kept == ["checkpoint-50", "checkpoint-70", "checkpoint-80"]


def test_learned_state_holds_what_requires_a_gradient() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    state = learned_state(model)
    assert sorted(state) == ["1.bias", "1.weight"]
    state["1.bias"] += 1  # a copy: the model does not change with it
    assert not torch.equal(state["1.bias"], dict(model.named_parameters())["1.bias"])


def test_learned_state_loads_into_a_model_of_the_same_make_only(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    first, second = nn.Linear(2, 3), nn.Linear(2, 3)
    save_file(learned_state(first), tmp_path / "w.safetensors")
    load_learned_state(second, tmp_path / "w.safetensors")
    assert torch.equal(first.weight, second.weight)
    second.bias.requires_grad_(False)
    message = f"{tmp_path / 'w.safetensors'}: does not fit the model being trained, first at 'bias'"
    with pytest.raises(ModelError) as caught:
        load_learned_state(second, tmp_path / "w.safetensors")
    assert str(caught.value) == message
