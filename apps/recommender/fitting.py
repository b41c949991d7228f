"""From a catalogue and a log to everything that recommends: first on a held-out part, to choose
and to be judged, then on all that is known.

The users with targets are parted in two: `choosing` ones stop the training and teach the final
ranking (their targets are later than, or left out of, all that made the features), `judging` ones
are looked at once, for the report.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from apps.recommender.catalog import Catalog
from apps.recommender.features import Features, ItemFacts, item_facts
from apps.recommender.interactions import Interactions
from apps.recommender.listing import describe_users, ranked_items
from apps.recommender.neighbours import co_occurrence, worded_alike
from apps.recommender.popularity import item_clock
from apps.recommender.quality import DEPTH
from apps.recommender.ranking import Ranking, TaughtLists, fit_ranking, gains
from apps.recommender.repeat_fitting import RepeatFit, fit_repeats
from apps.recommender.retrieval import (
    Channels,
    Rows,
    Scores,
    alike_in_meaning,
    build_channels,
    row_index,
)
from apps.recommender.sequence_model import SequenceModel, new_model
from apps.recommender.sequence_training import (
    SequenceFit,
    planned_epochs,
    ranking_watch,
    train_sequence,
)
from apps.recommender.settings import RecommenderSettings
from apps.recommender.splits import Split, choose_split, part_of_users
from shared.inference.vector_index import VectorIndex
from shared.training.machine import repeatable

CPU = torch.device("cpu")
# Users with targets who choose; the others judge.
CHOOSING = 0.5
# The ranking has seen enough after so many users: trees on more take minutes and gain nothing.
TAUGHT_USERS = 12_000
USERS_AT_ONCE = 512
# Items seen as new while the ranking learns.
PRETENDED = 0.15


@dataclass(frozen=True, eq=False)
class Given:
    """What does not depend on the log: texts as vectors, tables of like words and meanings. index:
    over `meaning`."""

    catalog: Catalog
    facts: ItemFacts
    meaning: Scores
    index: VectorIndex
    words: sp.csr_matrix
    meant: sp.csr_matrix
    fingerprint: str


@dataclass(frozen=True, eq=False)
class Parts:
    """A held-out part and which users choose with it, (n_users,); the others judge."""

    split: Split
    choosing: NDArray[np.bool_]

    @property
    def chooser(self) -> Split:
        return self.split.of_users(self.choosing)

    @property
    def line(self) -> str:
        """For a person."""
        targets = len(self.split)
        users = np.unique(self.split.user)
        what = (
            f"the last item of {len(users):,} users"
            if self.split.name == "last"
            else f"{targets:,} pairs after one moment in time"
        )
        if self.split.name == "last" and targets > len(users):
            what += f" and {targets - len(users):,} before it of those who choose"
        choose = int(self.choosing[users].sum())
        return f"held out: {what}; {choose:,} users choose, {len(users) - choose:,} judge"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Models that have not seen the targets of `parts.split`."""

    parts: Parts
    channels: Channels
    ranking: Ranking
    fit: SequenceFit
    again: RepeatFit
    seconds: dict[str, float]


def given(
    catalog: Catalog, meaning: Scores, settings: RecommenderSettings, fingerprint: str
) -> Given:
    """meaning: (items, d) whitened text vectors by the encoder of that fingerprint."""
    words = worded_alike(catalog.texts, neighbours=settings.ranking.neighbours)
    index = row_index(meaning, fingerprint)
    meant = alike_in_meaning(index, meaning)
    return Given(catalog, item_facts(catalog), meaning, index, words, meant, fingerprint)


def part(log: Interactions, settings: RecommenderSettings, seed: int) -> Parts:
    """Raises: DataError, see choose_split."""
    choosing = part_of_users(log.n_users, CHOOSING, seed)
    return Parts(choose_split(log, settings, choosing), choosing)


def fit_held_out(
    known: Given,
    parts: Parts,
    settings: RecommenderSettings,
    *,
    seed: int,
    threads: int | None,
    device: torch.device = CPU,
    budget: float | None = None,
    say: Callable[[str], None],
) -> HeldOut:
    """Train on what is known, choose with the choosing users.

    device: of the sequence model while it learns. budget: seconds it may learn for.
    """
    started = time.monotonic()
    split, chooser = parts.split, parts.chooser
    model = new_model(known.meaning, settings.sequence, decay=settings.profile.decay, seed=seed)
    model.to(device)
    with repeatable(device):
        fit = train_sequence(
            model,
            split.known,
            settings=settings.sequence,
            epochs=planned_epochs(split.known, settings.sequence),
            seed=seed,
            watch=ranking_watch(chooser, settings.events.history, seed),
            seconds=budget,
            say=say,
        )
    model.to(CPU)
    trained = time.monotonic()
    channels = channels_of(known, split.known, settings, model)
    lists = taught_lists(channels, known.facts, chooser, seed)
    ranking = fit_ranking(lists, settings=settings.ranking, seed=seed, threads=threads)
    judged = ", ".join(f"{name} {value:.4f}" for name, value in ranking.judged.items())
    say(f"ranking: {ranking.kind} (NDCG@10 within the candidates: {judged or 'too few users'})")
    ranked = time.monotonic()
    again = fit_repeats(channels, known.facts, ranking, chooser, seed=seed, threads=threads)
    say(again.note)
    seconds = {
        "sequence model": trained - started,
        "ranking": ranked - trained,
        "what is taken again": time.monotonic() - ranked,
    }
    return HeldOut(parts, channels, ranking, fit, again, seconds)


def held_out_lists(
    held: HeldOut,
    texts: Given,
    users: Rows,
    threads: int | None,
    k: int = DEPTH,
    *,
    again: bool = False,
) -> Rows:
    """(u, k) the lists of some users from what the held-out models were let know. again: with what
    is offered again."""
    return ranked_items(
        held.channels,
        texts.facts,
        held.ranking,
        users,
        k,
        threads=threads,
        repeats=held.again.repeats if again else None,
    )


def without_new_item_measures(
    held: HeldOut, known: Given, *, seed: int, threads: int | None
) -> HeldOut:
    """The same models under a ranking that was shown no item as new, lifts none and keeps no place
    for any: what new items cost those who take others is told by the difference."""
    nothing = {"new_items_cost": 0.0, "new_items_places": 0}
    settings = held.channels.settings
    ranked = settings.ranking.model_copy(update=nothing)
    channels = replace(held.channels, settings=settings.model_copy(update={"ranking": ranked}))
    lists = taught_lists(channels, known.facts, held.parts.chooser, seed, pretended=0.0)
    ranking = fit_ranking(lists, settings=ranked, seed=seed, threads=threads)
    return replace(held, channels=channels, ranking=ranking)


def fit_all(
    known: Given,
    log: Interactions,
    settings: RecommenderSettings,
    held: HeldOut,
    *,
    seed: int,
    device: torch.device = CPU,
    say: Callable[[str], None],
) -> Channels:
    """The same models on the whole log, as long trained as was best on the held-out part.

    device: of the sequence model while it learns.
    """
    model = new_model(known.meaning, settings.sequence, decay=settings.profile.decay, seed=seed)
    model.to(device)
    with repeatable(device):
        train_sequence(
            model,
            log,
            settings=settings.sequence,
            epochs=planned_epochs(held.parts.split.known, settings.sequence),
            stop_after=held.fit.epochs,
            seed=seed,
            say=say,
        )
    return channels_of(known, log, settings, model.to(CPU))


def channels_of(
    known: Given, log: Interactions, settings: RecommenderSettings, model: SequenceModel
) -> Channels:
    """The channels for one state of the log."""
    together = co_occurrence(
        log, neighbours=settings.ranking.neighbours, shrink=settings.ranking.shrink
    )
    return build_channels(
        log,
        settings,
        meaning=known.meaning,
        sequence=model,
        together=together,
        words=known.words,
        meant=known.meant,
        clock=item_clock(log),
        fingerprint=known.fingerprint,
        meaning_index=known.index,
    )


def taught_lists(
    channels: Channels,
    facts: ItemFacts,
    split: Split,
    seed: int,
    *,
    pretended: float = PRETENDED,
) -> TaughtLists:
    """pretended: share of the items that are shown as if nobody had taken them yet.

    Candidates of users with a history and targets, marked with what they took.

    In a log held out by users' last items each user is asked about at the moment of the target,
    so that the counts of popularity end there.
    """
    past = np.diff(channels.log.starts) > 0
    users, first = np.unique(split.user, return_index=True)
    chosen = past[users]
    users, first = users[chosen], first[chosen]
    rng = np.random.default_rng(seed)
    if len(users) > TAUGHT_USERS:
        picked = np.sort(rng.permutation(len(users))[:TAUGHT_USERS])
        users, first = users[picked], first[picked]
    moments = split.when[first] if split.name == "last" else None
    wanted = sp.csr_matrix(
        (gains(split.worth), (split.user, split.item)),
        shape=(channels.log.n_users, channels.log.n_items),
    )
    # A share of the items is shown as if nobody had taken them yet. Of those that truly are new
    # none can be anybody's last item but by accident: they would only teach that new is bad.
    pretend = rng.random(channels.log.n_items) < pretended
    untaken = np.flatnonzero(channels.log.counts == 0) if split.name == "last" else None
    names: tuple[str, ...] = ()
    values, owners, grades = [], [], []
    for at in range(0, len(users), USERS_AT_ONCE):
        part = slice(at, at + USERS_AT_ONCE)
        now = None if moments is None else moments[part]
        described = describe_users(
            channels, facts, users[part], now=now, blocked=untaken, pretend=pretend
        )
        names = described.features.names
        values.append(described.features.values)
        owners.append(users[part][described.found.user])
        grades.append(np.asarray(wanted[owners[-1], described.found.item]).ravel())
    if not values:
        empty = Features((), np.empty((0, 0), np.float32), np.empty((0, 0), np.float32))
        return TaughtLists(empty, np.empty(0, np.int64), np.empty(0, np.int64))
    features = Features(names, np.concatenate(values), np.empty((0, 0), np.float32))
    return TaughtLists(features, np.concatenate(owners), np.concatenate(grades).astype(np.int64))
