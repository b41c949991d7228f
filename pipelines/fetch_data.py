"""Public data sets from their own homes, laid out as `triptych benchmark --datasets` reads them.

Only the parts meant for training and development are fetched. What was downloaded is remembered
with its sha256: a set whose home has changed since is refused, so that two measurements are known
to be on the same rows. Nothing is redistributed; each set keeps its own licence.
"""

import csv
import gzip
import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx

from shared.errors import DataError, ServiceError

MAX_BYTES = 200 * 2**20
TIMEOUT_SECONDS = 30.0
SOURCE_FILE = "source.json"

# name of a downloaded file -> its bytes
Downloads = Mapping[str, bytes]


@dataclass(frozen=True)
class PublicSet:
    """A set that can be fetched. folder: below the datasets folder; files: name -> address."""

    name: str
    app: str
    about: str
    licence: str
    folder: str
    files: Mapping[str, str]
    lay_out: Callable[[Downloads, Path], int]


@dataclass(frozen=True)
class Fetched:
    """Where a set lies now and how many rows it has."""

    folder: Path
    rows: int
    licence: str


def _write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def _labelled(downloads: Downloads, folder: Path) -> int:
    """One CSV with a text and a label column in first and second place."""
    (content,) = downloads.values()
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    return _write_csv(folder / "train.csv", ("text", "label"), (row[:2] for row in rows[1:]))


def _banking77(downloads: Downloads, folder: Path) -> int:
    """The few-shot splits: lines of texts beside lines of labels."""
    total = 0
    for split, name in (("train", "dnnc_train"), ("train_10", "dnnc_train_10"),
                        ("train_5", "dnnc_train_5"), ("valid", "dnnc_valid")):  # fmt: skip
        texts = downloads[f"{split}/seq.in"].decode("utf-8").splitlines()
        labels = downloads[f"{split}/label"].decode("utf-8").splitlines()
        rows = zip(texts, labels, strict=True)
        total += _write_csv(folder / f"{name}.csv", ("text", "label"), rows)
    return total


def _clinc150(downloads: Downloads, folder: Path) -> int:
    content = json.loads(downloads["data_full.json"])
    splits = ("train", "val", "oos_train", "oos_val")
    rows = ((split, text, label) for split in splits for text, label in content[split])
    return _write_csv(folder / "data_full_dev.csv", ("split", "text", "label"), rows)


def _movielens(downloads: Downloads, folder: Path) -> int:
    rows = 0
    with zipfile.ZipFile(io.BytesIO(downloads["ml-latest-small.zip"])) as archive:
        for table in ("movies", "ratings", "tags", "links"):
            content = archive.read(f"ml-latest-small/{table}.csv")
            (folder / f"{table}.csv.gz").write_bytes(gzip.compress(content, mtime=0))
            rows += content.count(b"\n") - 1
    return rows


_FEW_SHOT = (
    "https://raw.githubusercontent.com/jianguoz/Few-Shot-Intent-Detection/main/Datasets/BANKING77/"
)
_TWEETS = "https://huggingface.co/datasets/zeroshot/{}/resolve/main/{}"
_ALL = (
    PublicSet(
        "banking77",
        "chatbot",
        "10,003 questions to a bank, 77 intents; few-shot and development splits",
        "CC BY 4.0",
        "chatbot/banking77",
        {
            f"{split}/{part}": f"{_FEW_SHOT}{split}/{part}"
            for split in ("train", "train_10", "train_5", "valid")
            for part in ("seq.in", "label")
        },
        _banking77,
    ),
    PublicSet(
        "clinc150",
        "chatbot",
        "150 intents in 10 domains, with out-of-scope rows",
        "CC BY 3.0",
        "chatbot/clinc150",
        {
            "data_full.json": "https://raw.githubusercontent.com/clinc/oos-eval/master/data/"
            "data_full.json"
        },
        _clinc150,
    ),
    PublicSet(
        "twitter_fin_sentiment",
        "news",
        "9,543 financial tweets: 0 bearish, 1 bullish, 2 neutral",
        "MIT",
        "finance/twitter_fin_sentiment",
        {"train.csv": _TWEETS.format("twitter-financial-news-sentiment", "sent_train.csv")},
        _labelled,
    ),
    PublicSet(
        "twitter_fin_topic",
        "news",
        "16,990 financial tweets, 20 topics",
        "MIT",
        "finance/twitter_fin_topic",
        {"train.csv": _TWEETS.format("twitter-financial-news-topic", "topic_train.csv")},
        _labelled,
    ),
    PublicSet(
        "ml_latest_small",
        "recommender",
        "100,836 ratings of 9,742 films with tags",
        "MovieLens terms",
        "recommender/ml_latest_small",
        {
            "ml-latest-small.zip": "https://files.grouplens.org/datasets/movielens/"
            "ml-latest-small.zip"
        },
        _movielens,
    ),
)
SETS: Mapping[str, PublicSet] = MappingProxyType({each.name: each for each in _ALL})


def fetch_set(
    name: str,
    datasets: Path,
    *,
    say: Callable[[str], None],
    mirror: str | None = None,
) -> Fetched:
    """Download a set, compare it with the last download, and replace its folder as a whole.

    mirror: take every file from `mirror/SET/FILE` instead of its home.

    Raises:
        DataError: no such set, or its home holds other bytes than the last time.
        ServiceError: its home is not reached or answers with an error; nothing is changed.
    """
    if name not in SETS:
        raise DataError(f"no data set named {name!r}; known are: {', '.join(sorted(SETS))}")
    chosen = SETS[name]
    target = datasets / chosen.folder
    downloads = {}
    with httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True) as client:
        for file, address in chosen.files.items():
            url = f"{mirror.rstrip('/')}/{name}/{file}" if mirror else address
            say(f"fetching {url}")
            downloads[file] = _download(client, url)
    hashes = {file: hashlib.sha256(content).hexdigest() for file, content in downloads.items()}
    _compare(target, hashes)
    datasets.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=datasets, prefix=f".{name}-"))
    try:
        rows = _laid_out(chosen, downloads, work)
        source = {"name": name, "licence": chosen.licence, "sha256": hashes, "rows": rows}
        (work / SOURCE_FILE).write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        work.chmod(0o755)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Fetched(target, rows, chosen.licence)


def _laid_out(chosen: PublicSet, downloads: Downloads, work: Path) -> int:
    try:
        return chosen.lay_out(downloads, work)
    except (KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{chosen.name}: its home serves something else than expected ({error!r}); nothing "
            "was changed"
        ) from error


def _download(client: httpx.Client, url: str) -> bytes:
    try:
        with client.stream("GET", url) as response:
            if response.status_code != httpx.codes.OK:
                raise ServiceError(f"{url}: answered {response.status_code}; nothing was changed")
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise ServiceError(f"{url}: more than {MAX_BYTES // 2**20} MB; stopped")
    except httpx.HTTPError as error:
        raise ServiceError(
            f"{url}: not reached ({error or type(error).__name__}); check the network, or name a "
            "mirror with --mirror"
        ) from error
    return bytes(content)


def _compare(target: Path, hashes: Mapping[str, str]) -> None:
    """Refuse bytes that differ from those of the last download."""
    source = target / SOURCE_FILE
    if not source.is_file():
        return
    before = json.loads(source.read_text(encoding="utf-8"))["sha256"]
    changed = [file for file, value in hashes.items() if before.get(file) != value]
    if changed:
        raise DataError(
            f"{target}: {', '.join(changed)} has changed at its home since it was fetched; remove "
            "that folder to accept the new rows"
        )
