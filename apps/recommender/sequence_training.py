"""Training of the residual sequence model.

The loop is ours: no library's trainer knows shared negatives with a correction for their number,
id offsets that start at zero, or early stopping by a full ranking.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from apps.recommender.interactions import Interactions
from apps.recommender.profiles import Histories, histories, stretches
from apps.recommender.quality import DEPTH, Targets, judge, targets_of
from apps.recommender.sequence_model import SequenceModel, item_vectors, user_vectors
from apps.recommender.settings import SequenceSettings
from apps.recommender.splits import Split

# Users that early stopping ranks for: their NDCG's standard error is then about .004.
WATCHED_USERS = 3000
# Scores in memory at once while the watched users are ranked: 200 MB with their places.
SCORES_AT_ONCE = 12_000_000
WARM_UP_STEPS = 50
# Sorted by length within so many batches, so that a batch is hardly wider than its histories.
BUCKET = 20
# Places of a batch at most: of long histories fewer go into one, or a log of few users with long
# ones would be over in a handful of steps.
MOST_PLACES = 2048
ADAPT_SHARE = 0.1
MOST_EPOCHS = 40


@dataclass(frozen=True)
class SequenceFit:
    """quality: validation NDCG@10 before the first epoch and after each. epochs: how many the
    kept weights have seen.
    """

    epochs: int
    quality: tuple[float, ...]
    seconds: float
    stopped_because: str


def train_sequence(
    model: SequenceModel,
    known: Interactions,
    *,
    settings: SequenceSettings,
    epochs: int,
    stop_after: int | None = None,
    seed: int,
    watch: Callable[[SequenceModel], float] | None = None,
    seconds: float | None = None,
    say: Callable[[str], None],
) -> SequenceFit:
    """Train in place on the sequences of `known`: at each position the next item, for at most
    `epochs` epochs or `seconds`, on the device where the model is.

    stop_after: end after this many epochs of a learning rate planned for `epochs`, as a run that
    watched its quality has found best.
    watch: quality of the model, higher is better; the best weights are kept, and training ends
    when a few epochs (`settings.patience`) bring nothing. Without it the last weights are.
    """
    started = time.monotonic()
    active = _learnable(known)
    past = stretches(known, active, settings.length + 1)
    # What nobody has taken yet was refused by nobody: it is no negative.
    drawable = np.flatnonzero(known.counts)
    patience = max(settings.patience, epochs // 3)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    steps = _steps(past, settings) * max(1, epochs)
    optimiser = _optimiser(model, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _rate(steps))
    quality = [watch(model)] if watch else []
    best, best_epoch = _copy(model), 0
    because = f"all {epochs} epochs"
    for epoch in range(1, epochs + 1 if stop_after != 0 else 1):
        if not len(active):
            because = "no user has two items"
            break
        model.train()
        losses = []
        for batch in batches(past, settings.batch_size, rng):
            loss = _loss(model, past, batch, drawable, settings, rng)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        if watch:
            quality.append(watch(model))
            shown = f", NDCG@10 {quality[-1]:.4f}"
            if quality[-1] > max(quality[:-1]):
                best, best_epoch = _copy(model), epoch
        else:
            shown, best_epoch = "", epoch
        spent = time.monotonic() - started
        say(f"  epoch {epoch}: loss {np.mean(losses):.3f}{shown} ({spent:.0f} s)")
        if watch and epoch - best_epoch >= patience:
            because = f"no gain in {patience} epochs"
            break
        if epoch == stop_after:
            because = f"told to stop after {stop_after}"
            break
        if seconds is not None and spent * (epoch + 1) / epoch > seconds:
            because = f"the time budget of {seconds:.0f} s"
            break
    if watch:
        model.load_state_dict(best)
    model.eval()
    return SequenceFit(best_epoch, tuple(quality), time.monotonic() - started, because)


def planned_epochs(known: Interactions, settings: SequenceSettings) -> int:
    """As set, or more where the log is so small that these would be too few steps."""
    if not settings.epochs:
        return 0
    per_epoch = _steps(stretches(known, _learnable(known), settings.length + 1), settings)
    return max(settings.epochs, min(MOST_EPOCHS, math.ceil(settings.least_steps / per_epoch)))


def _learnable(known: Interactions) -> NDArray[np.int64]:
    """Users with a next item."""
    return np.flatnonzero(np.diff(known.starts) >= 2)


@dataclass(frozen=True, eq=False)
class Watched:
    """Users whose lists say when to stop. seen: (users, items) sparse, what is not listed."""

    targets: Targets
    past: Histories
    seen: sp.csr_matrix

    def ndcg(self, score: Callable[[slice], NDArray[np.float32]]) -> float:
        """Mean NDCG@10 of lists from the full catalogue. score: some of the users against all
        items, (users, items)."""
        users, items = self.seen.shape
        depth = min(DEPTH, items)
        lists = np.empty((users, depth), np.int64)
        at_once = max(1, SCORES_AT_ONCE // max(1, items))
        for at in range(0, users, at_once):
            part = slice(at, min(at + at_once, users))
            scores = score(part)
            block = self.seen[part].tocoo()
            scores[block.row, block.col] = -np.inf
            best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
            order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
            lists[part] = np.take_along_axis(best, order, 1)
        return float(judge(lists, self.targets).ndcg.mean()) if users else 0.0


def watched_users(split: Split, length: int, seed: int) -> Watched:
    """At most WATCHED_USERS of those with a history and targets."""
    has_past = np.diff(split.known.starts) > 0
    users = np.unique(split.user[has_past[split.user]])
    rng = np.random.default_rng(seed)
    users = np.sort(rng.permutation(users)[:WATCHED_USERS])
    chosen = np.zeros(split.known.n_users, bool)
    chosen[users] = True
    past = histories(split.known, users, length)
    return Watched(targets_of(split, chosen), past, split.known.matrix[users])


def ranking_watch(split: Split, length: int, seed: int) -> Callable[[SequenceModel], float]:
    """NDCG@10 of the users' lists, what is known masked."""
    watched = watched_users(split, length, seed)

    def watch(model: SequenceModel) -> float:
        items = item_vectors(model)
        users = user_vectors(model, items, watched.past)
        return watched.ndcg(lambda part: users[part] @ items.T)

    return watch


def _optimiser(model: SequenceModel, settings: SequenceSettings) -> torch.optim.Optimizer:
    others = [p for name, p in model.named_parameters() if name not in ("offsets", "adapt.weight")]
    return torch.optim.AdamW(
        [
            {"params": others, "lr": settings.learning_rate},
            # Adam moves every entry of a d x d matrix by the rate at each step: a lower rate keeps
            # the map near the identity it starts from. Measured, it changes little.
            {"params": [model.adapt.weight], "lr": settings.learning_rate * ADAPT_SHARE},
            {
                "params": [model.offsets],
                "lr": settings.id_rate,
                "weight_decay": settings.id_weight_decay,
            },
        ],
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
    )


def _rate(steps: int) -> Callable[[int], float]:
    """A short warm-up, then down to a tenth in a straight line."""
    return lambda step: min(1.0, (step + 1) / WARM_UP_STEPS) * max(0.1, 1.0 - step / steps)


def batches(past: Histories, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Rows of `past` in random order, of like length within a batch: at most `size` of them, and
    at most MOST_PLACES places."""
    order = rng.permutation(len(past))
    buckets = [order[at : at + size * BUCKET] for at in range(0, len(order), size * BUCKET)]
    lengths = past.lengths
    cut = []
    for bucket in buckets:
        # Longest first: the first of a batch says how many go into it.
        left = bucket[np.argsort(-lengths[bucket], kind="stable")]
        while len(left):
            taken = max(1, min(size, MOST_PLACES // int(lengths[left[0]])))
            cut.append(left[:taken])
            left = left[taken:]
    for chosen in rng.permutation(len(cut)):
        yield cut[chosen]


def _steps(past: Histories, settings: SequenceSettings) -> int:
    """Of an epoch, at least 1; one more or less as the lengths fall together."""
    return max(1, sum(1 for _ in batches(past, settings.batch_size, np.random.default_rng(0))))


def _loss(
    model: SequenceModel,
    past: Histories,
    batch: NDArray[np.int64],
    drawable: NDArray[np.int64],
    settings: SequenceSettings,
    rng: np.random.Generator,
) -> Tensor:
    """Sampled softmax over the next item of every position.

    The negatives are drawn evenly, so each stands for items / negatives of the items taken: its
    logit gets that logarithm added (logQ, Bengio & Senécal 2008) and the sum in the softmax is
    an unbiased estimate of the full one. A negative that is the target is masked.
    """
    width = int(past.lengths[batch].max())
    device = model.start.device
    ids = torch.from_numpy(past.items[batch, -width:]).to(device)  # (batch, width)
    weights = torch.from_numpy(past.weights[batch, -width:]).to(device)
    count = len(drawable)
    drawn = rng.choice(drawable, min(settings.negatives, count), replace=False)
    negatives = torch.from_numpy(drawn).to(device)
    rows, place = torch.unique(torch.cat([ids.flatten(), negatives]), return_inverse=True)
    with_id = (torch.rand(len(rows)) >= settings.id_dropout).float().to(device)
    vectors = model.items(rows, with_id)
    seen = vectors[place[: ids.numel()]].view(*ids.shape, -1)  # (batch, width, d)
    users = model.users(seen[:, :-1], weights[:, :-1])
    real = (weights[:, :-1] > 0) & (weights[:, 1:] > 0)
    users, targets = users[real], ids[:, 1:][real]  # (positions, d), (positions,)
    scale = model.scale.exp().clamp(max=100.0)
    right = (users * seen[:, 1:][real]).sum(-1, keepdim=True) * scale
    wrong = users @ vectors[place[ids.numel() :]].T * scale + math.log(count / len(negatives))
    wrong = wrong.masked_fill(negatives[None, :] == targets[:, None], float("-inf"))
    logits = torch.cat([right, wrong], dim=1)  # (positions, 1 + negatives)
    first = torch.zeros(len(logits), dtype=torch.long, device=device)
    return functional.cross_entropy(logits, first)


def _copy(model: SequenceModel) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
