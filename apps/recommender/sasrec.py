"""The rival SASRec (Kang & McAuley 2018, arXiv 1808.09781): a causal transformer over item ids, no
text, with the full cross-entropy over the catalogue instead of its sampled binary one, by which
it gains most (Klenitskiy & Vasilev 2023, arXiv 2309.07602).
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from apps.recommender.interactions import Interactions
from apps.recommender.profiles import Histories, histories, stretches
from apps.recommender.sequence_training import batches, watched_users
from apps.recommender.splits import leave_last_out

WIDTH = 64
BLOCKS = 2
HEADS = 2
LENGTH = 50
DROPOUT = 0.2
RATE = 1e-3
BATCH = 128
# A small log gets more epochs, so that there are this many steps.
EPOCHS, LEAST_STEPS, MOST_EPOCHS = 30, 1500, 150
# Epochs without a gain before it stops, as a share of all.
PATIENCE = 0.15
USERS_AT_ONCE = 512


class SasRec(nn.Module):
    """Item and place vectors, blocks of attention, scores by the item vectors themselves."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.items = nn.Embedding(items, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        block = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, DROPOUT, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, BLOCKS, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.normal_(self.items.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """(batch, length, WIDTH) after each item. ids: (batch, length), padding at the end, which
        no item before it sees."""
        width = ids.shape[1]
        state = self.items(ids) + self.places.weight[:width]
        ahead = torch.ones(width, width, dtype=torch.bool, device=ids.device).triu(1)
        after: Tensor = self.norm(self.blocks(self.dropout(state), mask=ahead, is_causal=True))
        return after


def train_sasrec(
    log: Interactions, seed: int
) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
    """What gives scores of all items, (users, items), for indices of users of the log.

    It learns without the last item of each user, by which it knows when to stop, and ranks with
    them. Degenerate: with no user of two items it stays as it was drawn.
    """
    split = leave_last_out(log)
    known = split.known
    active = np.flatnonzero(np.diff(known.starts) >= 2)
    past = stretches(known, active, LENGTH + 1)
    watched = watched_users(split, LENGTH, seed)
    rng = np.random.default_rng(seed)
    before = torch.get_rng_state()
    torch.manual_seed(seed)
    model = SasRec(log.n_items)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    best, quality, waited = _copy(model), -1.0, 0
    steps = max(1, sum(1 for _ in batches(past, BATCH, np.random.default_rng(0))))
    epochs = min(MOST_EPOCHS, max(EPOCHS, LEAST_STEPS // steps))
    for _ in range(epochs if len(active) else 0):
        model.train()
        for batch in batches(past, BATCH, rng):
            loss = _loss(model, past, batch)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        reached = watched.ndcg(_scorer(model, watched.past))
        if reached > quality:
            best, quality, waited = _copy(model), reached, 0
        else:
            waited += 1
        if waited >= PATIENCE * epochs:
            break
    model.load_state_dict(best)
    torch.set_rng_state(before)

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        found = histories(log, users, LENGTH)
        return _scorer(model, found)(slice(0, len(users)))

    return score


def _loss(model: SasRec, past: Histories, batch: NDArray[np.int64]) -> Tensor:
    """Mean cross-entropy of the next item against all items."""
    ids, lengths = _from_the_left(past, batch)
    state = model(ids[:, :-1])
    real = torch.arange(ids.shape[1] - 1)[None, :] < (lengths - 1)[:, None]
    logits = state[real] @ model.items.weight.T
    return functional.cross_entropy(logits, ids[:, 1:][real])


def _scorer(model: SasRec, past: Histories) -> Callable[[slice], NDArray[np.float32]]:
    """Scores of all items for some of the users, zeros for one without a history."""

    @torch.inference_mode()
    def score(part: slice) -> NDArray[np.float32]:
        model.eval()
        rows = np.arange(len(past))[part]
        found = np.zeros((len(rows), model.items.num_embeddings), np.float32)
        for at in range(0, len(rows), USERS_AT_ONCE):
            ids, lengths = _from_the_left(past, rows[at : at + USERS_AT_ONCE])
            state = model(ids)[torch.arange(len(ids)), (lengths - 1).clamp(min=0)]
            scores = state @ model.items.weight.T * (lengths > 0)[:, None]
            found[at : at + USERS_AT_ONCE] = scores.numpy()
        return found

    return score


def _from_the_left(past: Histories, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """(ids (rows, width) with what is empty moved to the end, lengths (rows,))."""
    lengths = past.lengths[rows]
    width = max(1, int(lengths.max(initial=1)))
    place = np.arange(width)[None, :] + past.items.shape[1] - lengths[:, None]
    inside = place < past.items.shape[1]
    ids = past.items[rows[:, None], np.minimum(place, past.items.shape[1] - 1)]
    return torch.from_numpy(np.where(inside, ids, 0)), torch.from_numpy(lengths)


def _copy(model: SasRec) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
