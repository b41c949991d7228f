"""`triptych benchmark recommender`: the recommender beside every rival, for the same users.

Each split is a training of its own on what it lets be known; the users judged by chose nothing.
The whole catalogue is ranked for each, what they have had left out; intervals are bootstraps
over users.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from apps.recommender.fitting import (
    HeldOut,
    Parts,
    fit_held_out,
    held_out_lists,
    part,
    without_new_item_measures,
)
from apps.recommender.interactions import Interactions
from apps.recommender.judging import judging_targets
from apps.recommender.quality import (
    Judged,
    Targets,
    against,
    compared,
    judge,
    new_item_recall,
    slices_of,
)
from apps.recommender.recipe import FROZEN, RecommenderRecipe, Texts, embed
from apps.recommender.repeat_judging import judged_repeats
from apps.recommender.retrieval import Rows
from apps.recommender.rivals import RIVALS, rival_field, rival_lists
from apps.recommender.settings import RecommenderSettings, read_settings
from apps.recommender.sources import source_lists
from apps.recommender.splits import days_split, without_items
from shared.errors import DataError
from shared.evaluation.report import Measure, Slice
from shared.settings import Home, wanted_device
from shared.training.options import TrainOptions

SYSTEM = "triptych"
# The same under a ranking that does nothing for new items.
PLAIN = "triptych, nothing done for new items"
SOURCE = "source"
# What is held out: the last item of each user; all after one moment; the last items again, with
# all that is known of some items hidden from the training; the last MONTH of the log.
USUAL = ("last", "time", "hidden")
SPLITS = (*USUAL, "month")
MONTH = 30
SAID = {
    "last": "last item out",
    "time": "cut in time",
    "month": f"last {MONTH} days out",
    "hidden": "some items hidden",
}
HIDDEN_ITEMS = 0.15
# Fewer users with a past and a future than this say nothing on either side.
LEAST_USERS = 20
NEW = "new items"
AGAIN = "all that was taken, new or again"
OTHERS = "users who took others"
# Of new items recall is also told at this depth: few lists hold one among the first ten.
LONG = 20
Say = Callable[[str], None]


@dataclass(frozen=True)
class ShopRow:
    """One system on one shop. value, low, high: the figure with its 95 % interval.

    data: the shop and what was held out. part: "all", or the slice of users or items it was
    measured on; n: how many.
    """

    data: str
    system: str
    part: str
    measure: str
    value: float
    low: float | None
    high: float | None
    n: int
    seconds: float | None = None

    @property
    def told(self) -> tuple[str, str, str, str]:
        """The same for the same figure of another seed."""
        return self.data, self.system, self.part, self.measure


@dataclass(frozen=True)
class ShopBenchmark:
    """rows: every figure. notes: how it compares with the best rival and the best of its own
    sources, and what was left out."""

    rows: tuple[ShopRow, ...]
    notes: tuple[str, ...]


def benchmark_recommender(
    items: Path,
    events: Path,
    *,
    home: Home,
    mapping: Mapping[str, str] | None = None,
    seed: int = 13,
    threads: int | None = None,
    method: str = "frozen",
    base: str = "minilm",
    rivals: tuple[str, ...] = tuple(RIVALS),
    settings: RecommenderSettings | None = None,
    splits: tuple[str, ...] = USUAL,
    say: Say,
) -> ShopBenchmark:
    """Train and judge on any shop's tables, beside `rivals` (names of RIVALS), once for each of
    `splits` (of SPLITS).

    EASE is left out above 13,000 items, iALS where the library `implicit` is not installed, and
    windows of popularity and the cut in time where the log has no clock.

    Raises: DataError when the tables cannot be read or learnt from.
    """
    recipe = RecommenderRecipe(items, events, mapping or {}, settings, rivals)
    options = TrainOptions(
        seed=seed, threads=threads, method=method, base=base,
        device=wanted_device(None, os.environ),
    )  # fmt: skip
    chosen = read_settings(os.environ) if settings is None else settings
    catalog, log = recipe.read(chosen, seed, say)
    rows: list[ShopRow] = []
    notes: list[str] = []
    texts: Texts | None = None
    for split in splits:
        data = f"{items.name}, {SAID[split]}"
        parts = parts_of(split, log, chosen, seed)
        if parts is None:
            notes.append(
                f"{data}: not measured, the log has no clock or hardly a user on both sides"
            )
            continue
        say(f"{data}: {parts.line}")
        if texts is None or method not in FROZEN:
            with tempfile.TemporaryDirectory() as folder:
                texts = embed(catalog, parts, chosen, options, Path(folder), home, say)
        for found in _measured(split, data, parts, texts, options, rivals, chosen, say):
            rows += found.rows
            notes += found.notes
    if not rows:
        raise DataError(f"{events}: nothing could be held out; {'; '.join(notes)}")
    return ShopBenchmark(tuple(rows), tuple(notes))


def parts_of(
    split: str, log: Interactions, settings: RecommenderSettings, seed: int
) -> Parts | None:
    """What is known and who chooses; None where the log does not allow that split.

    Of users with a hidden target none chooses: to the training these items are not there yet.
    """
    if split in ("time", "month"):
        if not log.has_clock:
            return None
        parts = part(log, settings.model_copy(update={"held_out": "time"}), seed)
        if split == "month":
            parts = Parts(days_split(log, MONTH), parts.choosing)
        has_past = np.diff(parts.split.known.starts) > 0
        both = np.unique(parts.split.user[has_past[parts.split.user]])
        return parts if len(both) >= LEAST_USERS else None
    parts = part(log, settings.model_copy(update={"held_out": "last"}), seed)
    if split == "last":
        return parts
    rng = np.random.default_rng(seed)
    hidden = np.zeros(log.n_items, bool)
    hidden[rng.permutation(log.n_items)[: round(HIDDEN_ITEMS * log.n_items)]] = True
    wants_hidden = np.zeros(log.n_users, bool)
    wants_hidden[parts.split.user[hidden[parts.split.item]]] = True
    return Parts(without_items(parts.split, hidden), parts.choosing & ~wants_hidden)


def _measured(
    split: str,
    data: str,
    parts: Parts,
    texts: Texts,
    options: TrainOptions,
    rivals: tuple[str, ...],
    settings: RecommenderSettings,
    say: Say,
) -> Iterator[ShopBenchmark]:
    """One split: the whole, its sources and its rivals for the users who judge; and what is done
    for new items by its price."""
    held = fit_held_out(
        texts.given, parts, settings, seed=options.seed, threads=options.threads, say=say
    )
    targets = judging_targets(held)
    lists = held_out_lists(held, texts.given, targets.users, options.threads, LONG)
    yield _beside_rivals(data, held, targets, lists, texts, options, rivals)
    if split == "hidden":
        yield _price_of_new_items(data, held, targets, lists, texts, options)


def _price_of_new_items(
    data: str, held: HeldOut, targets: Targets, lists: Rows, texts: Texts, options: TrainOptions
) -> ShopBenchmark:
    """What users who took an item that others took before lose by what is done for new items.

    lists: (u, ≥ 10) the whole recommender's for `targets`.
    """
    seed = options.seed
    new = (targets.wanted @ (held.channels.log.counts == 0)) > 0
    others = Targets(targets.users[~new], targets.wanted[~new])
    plain = without_new_item_measures(held, texts.given, seed=seed, threads=options.threads)
    judged = {
        SYSTEM: judge(lists[~new], others),
        PLAIN: judge(held_out_lists(plain, texts.given, others.users, options.threads), others),
    }
    rows = [
        row
        for name, found in judged.items()
        for measure in found.measures(seed)
        for row in _row(data, name, OTHERS, measure)
    ]
    found = against(judged[SYSTEM], PLAIN, judged[PLAIN], seed)
    note = f"{data}: {len(others):,} {OTHERS}, NDCG@10 against {PLAIN}: {found.difference}"
    return ShopBenchmark(tuple(rows), (note,))


def _beside_rivals(
    data: str,
    held: HeldOut,
    targets: Targets,
    whole: Rows,
    texts: Texts,
    options: TrainOptions,
    rivals: tuple[str, ...],
) -> ShopBenchmark:
    """whole: (u, LONG) the whole recommender's lists for `targets`."""
    seed, split = options.seed, held.parts.split
    settings = held.channels.settings
    field = rival_field(
        split.known, targets.users, raw=texts.raw, texts=texts.given.catalog.texts,
        settings=settings, seed=seed,
    )  # fmt: skip
    sources = {
        f"{SOURCE} {name}": lists
        for name, lists in source_lists(held.channels, targets.users, LONG).items()
    }
    others = rival_lists(field, rivals, LONG)
    ours = judge(whole, targets)
    old = slices_of(whole, targets, split, seed)
    slices = tuple(each for each in old if each.name != NEW)
    rows = _rows(data, SYSTEM, ours, slices, seed)
    judged: dict[str, Judged] = {}
    for name, lists in (sources | others).items():
        judged[name] = judge(lists, targets)
        rows += _rows(data, name, judged[name], (), seed)
    # What everyone is compared by on items that nobody has taken.
    for name, lists in ({SYSTEM: whole} | sources | others).items():
        new = new_item_recall(lists, targets, split, seed)
        rows += [] if new is None else _slice(data, name, new)
    spent = sum(held.seconds.values())
    rows = [replace(row, seconds=spent) if row.system == SYSTEM else row for row in rows]
    again = judged_repeats(held, texts.given, seed)
    repeated = {} if again is None else again.judged
    for name, found in repeated.items():
        rows += [row for m in found.measures(seed) for row in _row(data, name, AGAIN, m)]
    notes = [
        compared(ours, {name: judged[name] for name in others}, seed),
        compared(ours, {name: judged[name] for name in sources}, seed, kind="single source"),
        f"ranking by {held.ranking.kind}, sequence model after {held.fit.epochs} epochs; "
        f"{held.ranking.lift.line}",
        *((held.again.note,) if split.name == "time" else ()),
        *(() if again is None else (again.note,)),
    ]
    return ShopBenchmark(tuple(rows), tuple(f"{data}: {note}" for note in notes))


def _rows(
    data: str, system: str, judged: Judged, slices: tuple[Slice, ...], seed: int
) -> list[ShopRow]:
    rows = [row for m in judged.measures(seed) for row in _row(data, system, "all", m)]
    return rows + [row for each in slices for row in _slice(data, system, each)]


def _slice(data: str, system: str, part: Slice) -> list[ShopRow]:
    return [row for measure in part.measures for row in _row(data, system, part.name, measure)]


def _row(data: str, system: str, part: str, measure: Measure) -> list[ShopRow]:
    """No row for what was not measured."""
    if measure.value is None:
        return []
    return [
        ShopRow(
            data, system, part, measure.name, measure.value, measure.low, measure.high, measure.n
        )
    ]
