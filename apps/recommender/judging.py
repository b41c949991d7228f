"""Reports: held-out models beside rivals on the same users, and a saved model on later events."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from apps.recommender.arrivals import FIRST, new_items, places_kept
from apps.recommender.features import ItemFacts
from apps.recommender.fitting import Given, HeldOut
from apps.recommender.interactions import Interactions, ReadLog
from apps.recommender.list_balance import balance_of
from apps.recommender.quality import (
    DEPTH,
    Against,
    Judged,
    Targets,
    against,
    against_best,
    baselines,
    compared,
    judge,
    slices_of,
    targets_of,
    told,
)
from apps.recommender.recommender import Recommender
from apps.recommender.repeat_judging import WITH, WITHOUT, judged_repeats
from apps.recommender.repeats import Repeats
from apps.recommender.retrieval import Rows, Scores
from apps.recommender.rivals import QUICK, rival_field, rival_lists
from apps.recommender.splits import Split
from shared.errors import DataError
from shared.evaluation.report import Report

# Rivals that need nothing but the model's own log.
BEHAVIOUR_ONLY = ("popular, all time", "popular, last 30 days", "popular, last 7 days", "item-kNN")


def judged_report(
    held: HeldOut,
    targets: Targets,
    lists: Rows,
    texts: Given,
    raw: Scores,
    *,
    model: str,
    note: str,
    seed: int,
    rivals: tuple[str, ...] = QUICK,
) -> tuple[Report, Against | None]:
    """The held-out models for the users who chose nothing, beside rivals for the same users; and
    what they are against the best of these, None without any.

    targets, lists: of `judging_targets` and `fitting.held_out_lists`. raw: (items, width) vectors
    as the encoder gives them. note: a line on the encoder.
    """
    split = held.parts.split
    ours = judge(lists, targets)
    others = judged_rivals(held, targets, texts, raw, seed, rivals)
    found = against_best(ours, others, seed)
    again = judged_repeats(held, texts, seed)
    slices = slices_of(lists, targets, split, seed)
    notes: tuple[str, ...] = (held.again.note,)
    if again is not None:
        slices, notes = (*slices, again.found), (*notes, again.note)
    report = Report(
        title="Recommender",
        app="recommender",
        model=model,
        data=f"{held.parts.line}; the whole catalogue of {split.known.n_items:,} items ranked for "
        f"{len(targets):,} users, what they have had left out",
        measures=(
            *ours.measures(seed),
            *balance_of(lists, targets.users, split.known, texts.facts, texts.meaning, seed),
        ),
        slices=slices,
        baselines=baselines(others, seed),
        notes=(told(found), *notes, f"encoder: {note}", *_how(held, texts.facts)),
    )
    return report, found


def judging_targets(held: HeldOut) -> Targets:
    """Of the users who judge; of all where so few have targets that none is left."""
    targets = targets_of(held.parts.split, ~held.parts.choosing)
    return targets if len(targets) else targets_of(held.parts.split)


def judged_rivals(
    held: HeldOut,
    targets: Targets,
    texts: Given,
    raw: Scores,
    seed: int,
    names: tuple[str, ...],
) -> dict[str, Judged]:
    """The named rivals for the same users, from the same known events."""
    given = rival_field(
        held.parts.split.known,
        targets.users,
        raw=raw,
        texts=texts.catalog.texts,
        settings=held.channels.settings,
        seed=seed,
    )
    return {name: judge(lists, targets) for name, lists in rival_lists(given, names).items()}


@dataclass(frozen=True, eq=False)
class LaterTargets:
    """What users took after a model's log. rows: (users of the later log,) in the model's, -1 for
    new ones. targets: of users of the later log. repeats: pairs that the model knows, left out."""

    rows: Rows
    targets: Targets
    repeats: int

    @property
    def warm(self) -> NDArray[np.bool_]:
        """(u,) of the targets' users, those the model knows."""
        return self.rows[self.targets.users] >= 0

    @property
    def old(self) -> Targets:
        """Of users the model knows, by the model's numbers."""
        wanted = self.targets.wanted[np.flatnonzero(self.warm)]
        return Targets(self.rows[self.targets.users][self.warm], wanted)


def later_targets(recommender: Recommender, later: ReadLog) -> LaterTargets:
    """Raises: DataError when no event is left."""
    log, new = recommender.bundle.log, later.interactions
    rows = np.array([recommender.user_rows.get(name, -1) for name in new.users], np.int64)
    wanted = new.matrix.astype(bool).astype(np.float32).tocsr()
    repeats = wanted.multiply(_known_to(log, rows) > 0)
    wanted = (wanted - repeats).tocsr()
    wanted.eliminate_zeros()
    users = np.flatnonzero(np.diff(wanted.indptr))
    if not len(users):
        raise DataError(
            f"all {len(new):,} events are already in the model's own log: nothing to judge by; "
            "give events that came after its training"
        )
    return LaterTargets(rows, Targets(users, wanted[users]), int(repeats.nnz))


def against_simple(recommender: Recommender, later: ReadLog, *, seed: int) -> Against | None:
    """The model's lists against the best of the rivals that need no training, for the users that
    it knows; None where there are none. Raises: as later_targets."""
    old = later_targets(recommender, later).old
    if not len(old):
        return None
    lists = lists_of(recommender, [recommender.users[row] for row in old.users])
    return against_best(judge(lists, old), _rivals_of(recommender, old, seed), seed)


def later_report(recommender: Recommender, later: ReadLog, *, seed: int) -> Report:
    """A loaded model on events after its own. Raises: DataError when none is left."""
    log, new = recommender.bundle.log, later.interactions
    found = later_targets(recommender, later)
    targets, warm, old = found.targets, found.warm, found.old
    users = targets.users
    lists = lists_of(recommender, [new.users[row] for row in users])
    ours = judge(lists, targets)
    notes = [*later.report.lines, f"{found.repeats:,} events repeat what the model knows: left out"]
    others: dict[str, Judged] = {}
    if len(old):
        others = _rivals_of(recommender, old, seed)
        notes.insert(0, f"users the model knows: {compared(_part(ours, warm), others, seed)}")
    notes.append(f"{int((~warm).sum()):,} of {len(users):,} users are new to the model")
    if recommender.bundle.repeats is not None:
        notes.append(_taken_again(recommender, recommender.bundle.repeats, new, found, seed))
    return Report(
        title="Recommender on later events",
        app="recommender",
        model=recommender.bundle.encoder.name,
        data=f"{int(targets.wanted.nnz):,} new pairs of {len(users):,} users",
        measures=ours.measures(seed),
        slices=slices_of(lists[warm], old, _as_split(log), seed) if len(old) else (),
        baselines=baselines(others, seed),
        notes=tuple(notes),
    )


def _taken_again(
    recommender: Recommender,
    repeats: Repeats,
    later: Interactions,
    found: LaterTargets,
    seed: int,
) -> str:
    """What lists are worth with what is offered again, over all that users took, new or again."""
    assert later.events is not None
    events = later.events.keep(later.events.taking)
    owner, width = found.rows[events.user], later.n_items
    pairs = np.unique((owner * width + events.item)[owner >= 0])
    habits = repeats.habits
    pairs = pairs[np.isin(pairs, habits.user.astype(np.int64) * width + habits.item)]
    old = found.old.wanted.tocoo()
    user = np.concatenate([pairs // width, found.old.users[old.row]])
    item = np.concatenate([pairs % width, old.col])
    users, place = np.unique(user, return_inverse=True)
    wanted = sp.csr_matrix(
        (np.ones(len(place), np.float32), (place, item)), shape=(len(users), width)
    )
    if not len(pairs):
        return "nothing that the model knows was taken again"
    names = [recommender.users[row] for row in users]
    targets = Targets(users, wanted)
    ours, without = (
        judge(lists_of(recommender, names, again=again), targets) for again in (True, False)
    )
    return (
        f"{len(pairs):,} items were taken again; over all that {len(users):,} users took, new or "
        f"again: NDCG@{DEPTH} {ours.ndcg.mean():.4f} {WITH}; {WITHOUT} {without.ndcg.mean():.4f}, "
        f"{against(ours, WITHOUT, without, seed).difference}"
    )


def _known_to(log: Interactions, rows: Rows) -> sp.csr_matrix:
    """(users, items) what the model's log holds of each user; nothing for -1."""
    chosen = log.matrix[np.maximum(rows, 0)]
    return (sp.diags((rows >= 0).astype(np.float32)) @ chosen).tocsr()


def lists_of(recommender: Recommender, names: list[str], *, again: bool = False) -> Rows:
    """(u, DEPTH) as users would get them, but for what they take again where that is not asked
    for: no target of new items is of that."""
    frame = recommender.recommend(names, DEPTH, again=again)
    lists = np.full((len(names), DEPTH), -1, np.int64)
    place = {name: row for row, name in enumerate(names)}
    user = frame["user_id"].map(place).to_numpy(np.int64)
    item = frame["item_id"].map(recommender.item_rows).to_numpy(np.int64)
    lists[user, frame["rank"].to_numpy(np.int64) - 1] = item
    return lists


def _rivals_of(recommender: Recommender, targets: Targets, seed: int) -> dict[str, Judged]:
    bundle = recommender.bundle
    given = rival_field(
        bundle.log,
        targets.users,
        raw=bundle.channels.meaning,
        texts=bundle.catalog.texts,
        settings=bundle.settings,
        seed=seed,
    )
    lists = rival_lists(given, (*BEHAVIOUR_ONLY, "TF-IDF mean"))
    return {name: judge(found, targets) for name, found in lists.items()}


def _part(judged: Judged, rows: NDArray[np.bool_]) -> Judged:
    return Judged(judged.ndcg[rows], judged.recall[rows], judged.mrr[rows], judged.shown)


def _as_split(log: Interactions) -> Split:
    """For the slices, which look only at what is known."""
    none = np.empty(0, np.int64)
    return Split("time", log, none, none, none, none.astype(np.float32))


def _how(held: HeldOut, facts: ItemFacts) -> tuple[str, ...]:
    """What was chosen, in words."""
    fit, ranking = held.fit, held.ranking
    log, settings = held.channels.log, held.channels.settings.ranking
    new = new_items(log, facts.created, settings.new_for_days)
    places = places_kept(new, settings.new_items_places)
    leading = sorted(ranking.importance.items(), key=lambda pair: -pair[1])[:5]
    judged = ", ".join(f"{name} {value:.4f}" for name, value in ranking.judged.items())
    notes = [
        f"sequence model: NDCG@10 {fit.quality[0]:.4f} as a training-free mean, "
        f"{max(fit.quality):.4f} after {fit.epochs} epochs ({fit.stopped_because})",
        f"ranking by {ranking.kind} (NDCG@10 within the candidates of users who taught neither: "
        f"{judged or 'too few users'}); most used: "
        + ", ".join(f"{name} {share:.0%}" for name, share in leading),
        f"{ranking.lift.line} ([recommender.ranking] new_items_cost allows "
        f"{settings.new_items_cost:.0%})",
        f"{new.sum():,} of {len(new):,} items are new: {places} of the first {FIRST} places are "
        f"kept for them (new_items_places allows {settings.new_items_places})",
    ]
    if held.parts.split.name == "last":
        notes.append(
            "leave-last-out flatters every model: other users' later events are known to it"
        )
    return tuple(notes)
