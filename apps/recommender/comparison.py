"""Two versions of a recommender for the same users, and what a promotion may depend on."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from apps.recommender.catalog import Catalog
from apps.recommender.interactions import Interactions, read_interactions
from apps.recommender.judging import lists_of
from apps.recommender.quality import DEPTH, USER_SLICES, Targets, judge
from apps.recommender.recommender import Recommender
from apps.recommender.retrieval import Rows
from apps.recommender.splits import Split
from shared.device import Device
from shared.errors import DataError
from shared.evaluation.outcomes import Case, Contest, Outcomes, Serve, row_keys
from shared.evaluation.race import Race
from shared.settings import Home
from shared.tables import Column, read_table

TASK = f"NDCG@{DEPTH}"
# Of lists with what is offered again, over all that was taken.
AGAIN_TASK = f"NDCG@{DEPTH}, new or again"
SEED = 13
Say = Callable[[str], None]


def held_out_outcomes(split: Split, targets: Targets, lists: Rows, catalog: Catalog) -> Outcomes:
    """NDCG of the lists of users whose targets were held out; lists: (u, DEPTH) of `targets`."""
    known = np.diff(split.known.starts)[targets.users]
    users = [split.known.users[row] for row in targets.users]
    return _outcomes(users, targets, lists, catalog.ids, known)


def compare(
    candidate: Path,
    production: Path,
    path: Path,
    mapping: Mapping[str, str],
    home: Home,
    *,
    say: Say,
) -> Contest:
    """Both on the events of a file: what either knows already is no target and left out.

    An item that only one of them has can be listed by that one alone, and counts.
    Raises: DataError when no new event is left. ModelError: a folder.
    """
    new, old = Recommender.load(candidate, home=home), Recommender.load(production, home=home)
    return contest_of(new, old, path, mapping, say=say)


def contest_of(
    new: Recommender, old: Recommender, path: Path, mapping: Mapping[str, str], *, say: Say
) -> Contest:
    """As `compare`, of a candidate and the one in production, loaded, with what was added to them.

    Raises: DataError when no new event is left.
    """
    ids = tuple(dict.fromkeys([*old.bundle.catalog.ids, *new.bundle.catalog.ids]))
    settings = old.bundle.settings.events
    later = read_interactions(path, ids, mapping=mapping, settings=settings, seed=SEED)
    for line in later.report.lines:
        say(f"events: {line}")
    place = {name: row for row, name in enumerate(ids)}
    log = later.interactions
    wanted = log.matrix.astype(bool).astype(np.float32).tocsr()
    for model in (old, new):
        wanted = _without(wanted, _known(model, log, place))
    if not wanted.nnz:
        raise DataError(
            f"{path}: all {len(log):,} events are already in a log that one of the two versions "
            "was trained on: give events that came after both trainings"
        )
    tasks = [_task(new, old, log, wanted, place, TASK, again=False)]
    notes = [f"{int(wanted.nnz):,} new pairs of {len(tasks[0][0]):,} users"]
    again = _taken_again(new, old, log, place)
    if again.nnz:
        tasks.append(_task(new, old, log, wanted + again, place, AGAIN_TASK, again=True))
        notes.append(f"{int(again.nnz):,} pairs taken again")
    return Contest(
        candidate=tuple(ours for ours, _ in tasks),
        production=tuple(theirs for _, theirs in tasks),
        seen=tuple(np.zeros(len(ours), np.bool_) for ours, _ in tasks),
        serve=_serving(new, old),
        asked=tasks[0][0].shown,
        notes=tuple(notes),
    )


def race(candidate: Path, production: Path, home: Home) -> Race:
    """Both, to be timed on users whom both know. Raises ModelError: a folder."""
    new, old = Recommender.load(candidate, home=home), Recommender.load(production, home=home)
    users = tuple(user for user in old.users if user in new.user_rows)
    return Race(_serving(new, old), users)


def _serving(new: Recommender, old: Recommender) -> tuple[Serve, Serve]:
    """The candidate's and production's lists, as a shop asks for them."""
    return (
        lambda asked: new.recommend(asked, DEPTH),
        lambda asked: old.recommend(asked, DEPTH),
    )


def _task(
    new: Recommender,
    old: Recommender,
    log: Interactions,
    wanted: sp.csr_matrix,
    place: Mapping[str, int],
    task: str,
    *,
    again: bool,
) -> tuple[Outcomes, Outcomes]:
    """The candidate's and production's lists for the users who took something. wanted: (users of
    log, all items)."""
    rows = np.flatnonzero(np.diff(wanted.indptr))
    users = [log.users[row] for row in rows]
    targets = Targets(rows, wanted[rows])
    starts, index = old.bundle.log.starts, old.user_rows
    known = np.array(
        [starts[index[u] + 1] - starts[index[u]] if u in index else 0 for u in users], np.int64
    )
    ours, theirs = (
        _outcomes(users, targets, _joint(model, users, place, again), tuple(place), known, task)
        for model in (new, old)
    )
    return ours, theirs


def cases(
    folder: Path,
    path: Path,
    home: Home,
    *,
    say: Say,  # noqa: ARG001
    device: Device | None = None,
) -> tuple[Case, ...]:
    """A must-pass file `user_id,item_id`: the item must be among the user's first ten. device: by
    default that of the settings."""
    table = read_table(path, [Column("user_id"), Column("item_id")], mapping={})
    recommender = Recommender.load(folder, home=home, device=device)
    users = [str(user) for user in table.frame["user_id"]]
    wanted = [str(item) for item in table.frame["item_id"]]
    listed = recommender.recommend(list(dict.fromkeys(users)), DEPTH)
    lists = {user: part["item_id"].tolist() for user, part in listed.groupby("user_id")}
    return tuple(
        Case(user, item, " ".join(lists.get(user, [])), item in lists.get(user, []))
        for user, item in zip(users, wanted, strict=True)
    )


def _outcomes(
    users: Sequence[str],
    targets: Targets,
    lists: Rows,
    ids: Sequence[str],
    known: NDArray[np.int64],
    task: str = TASK,
) -> Outcomes:
    """known: (u,) how many items production knows of each user."""
    names = np.array(ids, dtype=object)
    wanted = [names[targets.wanted[row].indices].tolist() for row in range(len(targets))]
    parts = {"users without a history": known == 0}
    parts |= {
        name: (known >= least) & (known <= (np.inf if most is None else most))
        for name, least, most in USER_SLICES
    }
    n = len(users)
    return Outcomes(
        task=task,
        keys=row_keys(users, wanted),
        scores=judge(lists, targets).ndcg,
        labels=((),) * n,
        parts={name: rows for name, rows in parts.items() if rows.any() and not rows.all()},
        groups=np.arange(n),
        confidence=np.empty((n, 0)),
        right=np.empty((n, 0), np.bool_),
        shown=tuple(users),
        decisions=tuple(" ".join(names[row[row >= 0]]) for row in lists),
    )


def _known(model: Recommender, log: Interactions, place: Mapping[str, int]) -> sp.csr_matrix:
    """(users of log, all items) the pairs in the model's own log."""
    own = model.bundle.log
    row = pd.Index(log.users).get_indexer(pd.Index(own.users))[own.user]
    column = np.array([place[name] for name in model.bundle.catalog.ids], np.int64)[own.item]
    met = row >= 0
    shape = (log.n_users, len(place))
    return sp.csr_matrix((np.ones(int(met.sum()), np.float32), (row[met], column[met])), shape)


def _without(wanted: sp.csr_matrix, known: sp.csr_matrix) -> sp.csr_matrix:
    left = (wanted - wanted.multiply(known > 0)).tocsr()
    left.eliminate_zeros()
    return left


def _taken_again(
    new: Recommender, old: Recommender, log: Interactions, place: Mapping[str, int]
) -> sp.csr_matrix:
    """(users of log, all items) the pairs that one of the two knows and that were taken after both
    their logs end; none where neither offers anything again."""
    shape = (log.n_users, len(place))
    offers = any(model.bundle.repeats is not None for model in (new, old))
    if log.events is None or not log.has_clock or not offers:
        return sp.csr_matrix(shape, dtype=np.float32)
    moment = max(model.bundle.log.now for model in (new, old))
    events = log.events.keep(log.events.taking & (log.events.time > moment))
    ones = np.ones(len(events), np.float32)
    taken = sp.csr_matrix((ones, (events.user, events.item)), shape) > 0
    known = (_known(new, log, place) + _known(old, log, place)) > 0
    return taken.multiply(known).astype(np.float32).tocsr()


def _joint(model: Recommender, users: list[str], place: Mapping[str, int], again: bool) -> Rows:
    """(u, DEPTH) the model's lists in the numbers of both catalogues together."""
    own = lists_of(model, users, again=again)
    number = np.array([place[name] for name in model.bundle.catalog.ids], np.int64)
    return np.where(own >= 0, number[np.maximum(own, 0)], -1)
