"""The residual sequence model: it starts as the recency-weighted mean over whitened text vectors
and learns only what that mean does not say.

    item  v = unit(x + A x + o)        x: whitened text, A: starts at 0, o: id offset, starts at 0
    user  u = unit(unit(Σ w_k v_k) + R(v_1 … v_t))      R: one causal transformer layer, starts at 0
    score = scale · u·v

Before the first step u·v is therefore the training-free model, and an item nobody has touched
keeps o = 0 and is carried by its text.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from apps.recommender.profiles import Histories
from apps.recommender.settings import SequenceSettings
from shared.errors import ModelError

WEIGHTS = "sequence.safetensors"
CONFIG = "sequence.json"
HEADS = 2


@dataclass(frozen=True)
class SequenceShape:
    """items, dimensions: of the start vectors. hidden: width of the residual layer."""

    items: int
    dimensions: int
    hidden: int
    length: int


class SequenceModel(nn.Module):
    """start: (items, d) whitened text vectors of unit length, a fixed buffer.

    The parameters that learn: `adapt` (A), `offsets` (o), the decay of the mean and the
    transformer layer with relative positions.
    """

    start: Tensor

    def __init__(
        self, start: Tensor, *, hidden: int, length: int, decay: float, temperature: float,
        dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        count, width = start.shape
        self.shape = SequenceShape(count, width, hidden, length)
        self.register_buffer("start", start)
        self.adapt = nn.Linear(width, width, bias=False)
        self.offsets = nn.Parameter(torch.zeros(count, width))
        # Kept as logit and logarithm, so that any step leaves them in range.
        self.decay = nn.Parameter(torch.logit(torch.tensor(decay), eps=1e-4))
        self.scale = nn.Parameter(torch.tensor(1.0 / temperature).log())
        self.enter = nn.Linear(width, hidden)
        self.norm_in, self.norm_mid, self.norm_out = (nn.LayerNorm(hidden) for _ in range(3))
        self.attend = nn.Linear(hidden, 3 * hidden)
        self.mix = nn.Linear(hidden, hidden)
        self.think = nn.Sequential(
            nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden)
        )
        self.leave = nn.Linear(hidden, width)
        self.distance = nn.Parameter(torch.zeros(HEADS, length))
        self.dropout = nn.Dropout(dropout)
        for zero in (self.adapt.weight, self.leave.weight, self.leave.bias):
            nn.init.zeros_(zero)

    def items(self, rows: Tensor | None = None, with_id: Tensor | None = None) -> Tensor:
        """(n, d) of unit length for the given rows (n,) of the catalogue, or for all of them.

        with_id: (n,) 1 where the id offset counts, 0 where text alone must do.
        """
        start = self.start if rows is None else self.start[rows]
        offsets = self.offsets if rows is None else self.offsets[rows]
        if with_id is not None:
            offsets = offsets * with_id[:, None]
        return self.placed(start, offsets)

    def placed(self, start: Tensor, offsets: Tensor) -> Tensor:
        """(n, d) of unit length. start: (n, d) whitened text vectors. offsets: (n, d) or (d,)."""
        return functional.normalize(start + self.adapt(start) + offsets, dim=-1)

    def mean_weights(self, weights: Tensor) -> Tensor:
        """(batch, t, k): what item k counts in the mean after step t, each row sums to 1 or 0.

        weights: (batch, length) event weights, 0 where nothing is; see profiles.recency_weights.
        """
        length = weights.shape[1]
        step = torch.arange(length, device=weights.device)
        after = step[:, None] - step[None, :]  # (t, k)
        decayed = torch.sigmoid(self.decay) ** after.clamp(min=0)
        shares = decayed.masked_fill(after < 0, 0.0)[None] * weights.sqrt()[:, None, :]
        return shares / shares.sum(-1, keepdim=True).clamp(min=1e-6)

    def users(self, vectors: Tensor, weights: Tensor) -> Tensor:
        """(batch, length, d): the user after each item. vectors: those of the items, same shape."""
        mean = functional.normalize(self.mean_weights(weights) @ vectors, dim=-1)
        return functional.normalize(mean + self._residual(vectors, weights > 0), dim=-1)

    def _residual(self, vectors: Tensor, present: Tensor) -> Tensor:
        """(batch, length, d) of the transformer layer; a step sees itself and what came before."""
        batch, length, _ = vectors.shape
        hidden = self.shape.hidden
        state = self.dropout(self.enter(vectors))
        parts = self.attend(self.norm_in(state)).view(batch, length, 3, HEADS, hidden // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (batch, heads, length, hidden / heads)
        step = torch.arange(length, device=vectors.device)
        after = step[:, None] - step[None, :]
        bias = self.distance[:, after.clamp(0, self.shape.length - 1)]  # (heads, t, k)
        # Nothing of the future and no padding; a padded step may look at itself, else its
        # softmax would be over nothing.
        hidden_from = (after < 0) | (~present[:, None, :] & (after != 0))  # (batch, t, k)
        bias = bias[None].masked_fill(hidden_from[:, None], float("-inf"))
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        state = state + self.dropout(self.mix(mixed.transpose(1, 2).reshape(batch, length, hidden)))
        state = state + self.dropout(self.think(self.norm_mid(state)))
        residual: Tensor = self.leave(self.norm_out(state))
        return residual


@torch.inference_mode()
def item_vectors(
    model: SequenceModel, with_id: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """(items, d) of unit length, as the model sees them.

    with_id: (items,) whose id offset counts, all by default.
    """
    model.eval()
    device = model.start.device
    mask = None if with_id is None else torch.from_numpy(with_id.astype(np.float32)).to(device)
    vectors: NDArray[np.float32] = model.items(with_id=mask).cpu().numpy()
    return vectors


@torch.inference_mode()
def reworded_vectors(
    model: SequenceModel, row: int, start: NDArray[np.float32], *, with_id: bool
) -> NDArray[np.float32]:
    """(n, d) of unit length: the item in that row as the model would see it, had it each of the
    whitened text vectors `start` (n, d). with_id: whether its id offset counts; an item that came
    after the training, in a row behind those of the model, has none."""
    model.eval()
    trained = row < len(model.offsets)
    offset = model.offsets[row if trained else 0] * float(with_id and trained)
    texts = torch.from_numpy(start).to(offset.device)
    vectors: NDArray[np.float32] = model.placed(texts, offset).cpu().numpy()
    return vectors


@torch.inference_mode()
def user_vectors(
    model: SequenceModel, items: NDArray[np.float32], past: Histories, batch: int = 1024
) -> NDArray[np.float32]:
    """(users, d) of unit length, zeros for users without a history. items: of `item_vectors`."""
    model.eval()
    device = model.start.device
    table = torch.from_numpy(items).to(device)
    found = np.zeros((len(past), items.shape[1]), np.float32)
    # Equal lengths together: a batch is as wide as its longest history.
    order = np.argsort(past.lengths, kind="stable")
    for at in range(0, len(order), batch):
        chosen = order[at : at + batch]
        width = max(1, min(int(past.lengths[chosen].max(initial=1)), model.shape.length))
        ids = torch.from_numpy(past.items[chosen, -width:]).to(device)
        weights = torch.from_numpy(past.weights[chosen, -width:]).to(device)
        last = model.users(table[ids], weights)[:, -1]
        found[chosen] = torch.where(weights[:, -1:] > 0, last, 0.0).cpu().numpy()
    return found


@torch.inference_mode()
def item_shares(model: SequenceModel, past: Histories) -> NDArray[np.float32]:
    """(users, length): what each item of a history counts in the mean term."""
    width = min(past.items.shape[1], model.shape.length)
    weights = torch.from_numpy(past.weights[:, -width:]).to(model.start.device)
    shares = np.zeros(past.weights.shape, np.float32)
    shares[:, -width:] = model.mean_weights(weights)[:, -1].cpu().numpy()
    return shares


def new_model(
    start: NDArray[np.float32], settings: SequenceSettings, *, decay: float, seed: int
) -> SequenceModel:
    """A model that is still the training-free mean."""
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = SequenceModel(
        torch.from_numpy(start.copy()),
        hidden=settings.hidden - settings.hidden % HEADS,
        length=settings.length,
        decay=decay,
        temperature=settings.temperature,
        dropout=settings.dropout,
    )
    torch.set_rng_state(generator_state)
    return model


def save_model(model: SequenceModel, folder: Path) -> None:
    """sequence.safetensors and sequence.json; the start vectors are not among them (they are the
    text vectors, saved once)."""
    tensors = {k: v.contiguous() for k, v in model.state_dict().items() if k != "start"}
    save_file(tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(asdict(model.shape), indent=2) + "\n")


def load_model(folder: Path, start: NDArray[np.float32]) -> SequenceModel:
    """Raises: ModelError when a file is missing or made for another catalogue."""
    path = folder / WEIGHTS
    if not path.is_file() or not (folder / CONFIG).is_file():
        raise ModelError(f"{folder}: {WEIGHTS} and {CONFIG} of the sequence model are missing")
    shape = SequenceShape(**json.loads((folder / CONFIG).read_text()))
    if (shape.items, shape.dimensions) != start.shape:
        raise ModelError(
            f"{path}: made for {shape.items} items of {shape.dimensions} dimensions, "
            f"the text vectors are {start.shape[0]} of {start.shape[1]}"
        )
    model = SequenceModel(
        torch.from_numpy(start.copy()),
        hidden=shape.hidden,
        length=shape.length,
        decay=0.5,
        temperature=1.0,
        dropout=0.0,
    )
    model.load_state_dict({**load_file(path), "start": model.start})
    return model.eval()
