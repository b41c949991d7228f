"""Fetching public sets, against a server on loopback."""

import functools
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.fetch_data import SETS, fetch_set
from shared.errors import DataError, ServiceError


def quiet(_: str) -> None:
    """Progress nobody asked for."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address of the server that serves it."""
    served = tmp_path / "served"
    served.mkdir()
    handler = functools.partial(Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield served, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def put(served: Path, name: str, files: dict[str, bytes]) -> None:
    for file, content in files.items():
        path = served / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def zipped(tables: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for table, text in tables.items():
            archive.writestr(f"ml-latest-small/{table}.csv", text)
    return buffer.getvalue()


SERVED: dict[str, tuple[dict[str, bytes], dict[str, str], int]] = {
    "banking77": (
        {
            f"{split}/{part}": content
            for split in ("train", "train_10", "train_5", "valid")
            for part, content in (("seq.in", b"where, is it\nlost\n"), ("label", b"a\nb\n"))
        },
        {"dnnc_train_5.csv": 'text,label\n"where, is it",a\nlost,b\n'},
        8,
    ),
    "clinc150": (
        {
            "data_full.json": json.dumps(
                {k: [["hi", k]] for k in ("train", "val", "test", "oos_train", "oos_val")}
            ).encode()
        },
        {
            "data_full_dev.csv": "split,text,label\ntrain,hi,train\nval,hi,val\n"
            "oos_train,hi,oos_train\noos_val,hi,oos_val\n"
        },
        4,
    ),
    "twitter_fin_sentiment": (
        {"train.csv": b"text,label\n$A up,1\n"},
        {"train.csv": "text,label\n$A up,1\n"},
        1,
    ),
    "twitter_fin_topic": (
        {"train.csv": b"text,label\n$A up,1\n"},
        {"train.csv": "text,label\n$A up,1\n"},
        1,
    ),
    "ml_latest_small": (
        {
            "ml-latest-small.zip": zipped(
                dict.fromkeys(("movies", "ratings", "tags", "links"), "id,x\n1,2\n")
            )
        },
        {},
        4,
    ),
}


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_laid_out_from_what_its_home_serves(
    name: str, mirror: tuple[Path, str], tmp_path: Path
) -> None:
    served, address = mirror
    files, expected, rows = SERVED[name]
    put(served, name, files)
    said: list[str] = []
    got = fetch_set(name, tmp_path / "sets", say=said.append, mirror=address)
    assert got.rows == rows
    assert got.folder == tmp_path / "sets" / SETS[name].folder
    assert len(said) == len(SETS[name].files)
    for file, content in expected.items():
        assert (got.folder / file).read_text() == content


def test_a_home_that_has_changed_is_refused_and_nothing_is_lost(
    mirror: tuple[Path, str], tmp_path: Path
) -> None:
    served, address = mirror
    name, sets = "twitter_fin_topic", tmp_path / "sets"
    put(served, name, {"train.csv": b"text,label\nold,1\n"})
    folder = fetch_set(name, sets, say=quiet, mirror=address).folder
    put(served, name, {"train.csv": b"text,label\nnew,1\n"})
    with pytest.raises(DataError) as caught:
        fetch_set(name, sets, say=quiet, mirror=address)
    assert str(caught.value) == (
        f"{folder}: train.csv has changed at its home since it was fetched; remove that folder "
        "to accept the new rows"
    )
    assert (folder / "train.csv").read_text() == "text,label\nold,1\n"


def test_an_absent_file_is_one_line_and_leaves_nothing(
    mirror: tuple[Path, str], tmp_path: Path
) -> None:
    with pytest.raises(ServiceError, match=r"answered 404; nothing was changed$"):
        fetch_set("clinc150", tmp_path / "sets", say=quiet, mirror=mirror[1])
    assert not (tmp_path / "sets").exists()


def test_a_page_instead_of_the_archive_is_refused(mirror: tuple[Path, str], tmp_path: Path) -> None:
    served, address = mirror
    put(served, "ml_latest_small", {"ml-latest-small.zip": b"<html>please log in</html>"})
    with pytest.raises(DataError, match="its home serves something else than expected"):
        fetch_set("ml_latest_small", tmp_path / "sets", say=quiet, mirror=address)
    assert list((tmp_path / "sets").iterdir()) == []


def test_an_unreachable_home_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="check the network, or name a mirror with --mirror"):
        fetch_set("clinc150", tmp_path, say=quiet, mirror="http://127.0.0.1:9")


def test_an_unknown_set_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch_set("mnist", tmp_path, say=quiet)
    assert str(caught.value) == (
        "no data set named 'mnist'; known are: banking77, clinc150, ml_latest_small, "
        "twitter_fin_sentiment, twitter_fin_topic"
    )
