"""`triptych recommender retrain`: a candidate from the present catalogue and log, judged beside the
live version on the last days, and live only through the gate.

    events until the cut   of the log, and what was sent to the live version and is not in it:
                           the candidate learns them; the live version is given them by import
    events after the cut   both are judged on these alone, by users and slices
    promoted               then the candidate is given them too, and what was sent to the live one

So what goes live is what was judged, nothing is lost by the change, and no training is made twice.
"""

import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.recommender.additions import open_additions
from apps.recommender.auditing import open_encoder
from apps.recommender.comparison import SEED, cases, contest_of
from apps.recommender.formats import RawTable, read_event_file
from apps.recommender.importing import (
    AHEAD,
    add_events,
    import_events,
    import_items,
    with_sent,
)
from apps.recommender.interactions import event_times, read_interactions
from apps.recommender.judging import against_simple
from apps.recommender.live import LiveRecommender, open_live
from apps.recommender.recipe import RecommenderRecipe
from apps.recommender.recommender import Recommender
from pipelines.compare import Compared, timed
from pipelines.train import train
from shared.device import Device
from shared.errors import DataError
from shared.evaluation.gate import Check, GateLimits, judge
from shared.evaluation.intervals import mean_of, paired_bootstrap
from shared.evaluation.outcomes import Contest, Outcomes
from shared.inference.runtime import Embedder
from shared.registry import ModelVersion, Registry
from shared.settings import Home
from shared.training.options import TrainOptions

Say = Callable[[str], None]


@dataclass(frozen=True)
class Shop:
    """items, events: files, as training takes them. days: the last ones, to judge by."""

    items: Path
    events: Path
    mapping: Mapping[str, str]
    days: float


@dataclass(frozen=True)
class Retrained:
    """candidate: None where nothing was trained. promoted: it is live now. why: in one line.
    page: of the comparison."""

    model: str
    candidate: str | None
    promoted: bool
    why: str
    lines: tuple[str, ...] = ()
    page: str | None = None


def retrain(
    name: str,
    shop: Shop,
    *,
    home: Home,
    options: TrainOptions,
    limits: GateLimits,
    must_pass: Path | None,
    clock: Callable[[], datetime],
    say: Say,
) -> Retrained:
    """Raises: ModelError: no such model. DataError: a file that cannot be read, or has no times."""
    registry = Registry(home.models, clock)
    production = registry.resolve(name, app="recommender")
    device = options.device
    live = open_live(production.path, home=home, threads=options.threads, device=device)
    raw = read_event_file(shop.events, shop.mapping)
    if not raw.has_clock:
        raise DataError(f"{shop.events}: has no times, so that the last days cannot be held out")
    raw, sent = with_sent(raw, live.additions.events(live.additions.stamp()))
    if sent:
        say(
            f"{sent:,} events that were sent to {production.reference} are not in "
            f"{shop.events.name}: they count as its own"
        )
    time = event_times(raw)
    cut = _cut(live.base, time, shop.days, clock())
    late = (time > cut) & (time <= (clock() + AHEAD).timestamp() * 1e6)
    acted = int(raw.frame["user_id"][late].nunique())
    if acted < limits.least_rows:
        why = (
            f"{acted:,} {'user has' if acted == 1 else 'users have'} acted since "
            f"{pd.Timestamp(cut, unit='us'):%Y-%m-%d %H:%M} UTC and {limits.least_rows} are needed "
            "to judge by ([gate] least_rows): not trained"
        )
        return Retrained(production.reference, None, False, why)
    work = home.root / "work" / f"retrain-{uuid.uuid4().hex[:8]}"
    work.mkdir(parents=True)
    try:
        known = _part(raw, time <= cut, work / "events.parquet")
        later = _part(raw, late, work / "later.parquet")
        # Whether it may go live is for the gate to say, and by the days that came after.
        recipe = RecommenderRecipe(shop.items, known, shop.mapping, even_if_worse=True)
        trained = train(recipe, name=name, options=options, home=home, clock=clock, say=say)
        say(f"{trained.version.reference} is trained; judging it beside {production.reference}")
        candidate = Recommender.load(
            trained.version.path, home=home, threads=options.threads, device=device
        )
        kept = kept_up(live.base, production, shop, known, work, home, device, clock)
        done = _judged(
            candidate, kept, trained.version, production, later, home=home, limits=limits,
            must_pass=must_pass or limits.must_pass.get(name), device=device, say=say,
        )  # fmt: skip
        page = done.write(home.reports / f"promotion-{name}-{trained.version.version}")
        lines = (*done.notes, *done.verdict.lines)
        if not done.verdict.passed:
            blocking = "; ".join(f"{c.name} ({c.status})" for c in done.verdict.blocking)
            why = f"{trained.version.reference} stays out: {blocking}"
            return Retrained(
                production.reference, trained.version.reference, False, why, lines, str(page)
            )
        _hand_over(live, trained.version, later, work, home, device, clock)
        registry.promote(name, trained.version.version, reason="retrained; passed the gate")
        why = (
            f"{trained.version.reference} is in production, in place of {production.reference}; "
            f"back with `triptych models rollback {name}`"
        )
        return Retrained(
            production.reference, trained.version.reference, True, why, lines, str(page)
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _cut(base: Recommender, time: NDArray[np.int64], days: float, now: datetime) -> int:
    """Microseconds: the last `days` of the log, and nothing that the live version was trained on.
    Events of the future do not say where the log ends."""
    sane = time[time <= (now + AHEAD).timestamp() * 1e6]
    if not len(sane):
        raise DataError("every event is of the future: look at them with `triptych data doctor`")
    span = int(timedelta(days=days) / timedelta(microseconds=1))
    return max(int(sane.max()) - span, base.bundle.log.now if base.bundle.log.has_clock else 0)


def _part(raw: RawTable, rows: NDArray[np.bool_], path: Path) -> Path:
    raw.frame[rows].to_parquet(path, index=False)
    return path


def kept_up(
    base: Recommender,
    production: ModelVersion,
    shop: Shop,
    known: Path,
    work: Path,
    home: Home,
    device: Device,
    clock: Callable[[], datetime],
) -> Recommender:
    """The live version as it would be had it been given the same items and events by `import`, in
    a database of its own: newer histories alone are no merit of a training."""
    aside = open_additions(Home(work), base.fingerprint, environ={}, clock=clock)
    live = LiveRecommender(base, aside)
    import_items(live, _encoder(base, production, home, device), shop.items, shop.mapping)
    import_events(live, known, {})
    current = live.current()
    aside.close()
    return current


def _judged(
    candidate: Recommender,
    production: Recommender,
    new: ModelVersion,
    old: ModelVersion,
    later: Path,
    *,
    home: Home,
    limits: GateLimits,
    must_pass: Path | None,
    device: Device,
    say: Say,
) -> Compared:
    contest = contest_of(candidate, production, later, {}, say=say)
    given = None
    if must_pass is not None:
        given = cases(new.path, must_pass, home, say=say, device=device)
    latency = timed(contest.serve, contest.asked, limits)
    verdict = judge(contest.pairs(), limits, cases=given, latency=latency)
    check = simple_rivals(candidate, later)
    return Compared(
        new.reference,
        old.reference,
        replace(verdict, checks=(*verdict.checks, check)),
        limits,
        contest.changes(),
        (*contest.notes, *_differences(contest)),
    )


def simple_rivals(candidate: Recommender, later: Path) -> Check:
    """Whether the candidate loses to the best of the rivals that need no training."""
    log = read_interactions(
        later,
        candidate.bundle.catalog.ids,
        mapping={},
        settings=candidate.bundle.settings.events,
        seed=SEED,
    )
    found = against_simple(candidate, log, seed=SEED)
    if found is None:
        return Check("simplest rivals", "undecided", "no user it knows has acted since")
    return Check(
        "simplest rivals", "failed" if found.verdict == "worse" else "passed", found.line()
    )


def _differences(contest: Contest) -> tuple[str, ...]:
    return tuple(
        _difference(ours, theirs)
        for ours, theirs in zip(contest.candidate, contest.production, strict=True)
    )


def _difference(ours: Outcomes, theirs: Outcomes) -> str:
    found = paired_bootstrap(mean_of(ours.scores), mean_of(theirs.scores), len(ours), seed=SEED)
    return (
        f"{ours.task}: {theirs.scores.mean():.4f} -> {ours.scores.mean():.4f}, {found.value:+.4f} "
        f"(95 % {found.low:+.4f} to {found.high:+.4f}, paired bootstrap over {len(ours):,} users)"
    )


def _hand_over(
    live: LiveRecommender,
    version: ModelVersion,
    later: Path,
    work: Path,
    home: Home,
    device: Device,
    clock: Callable[[], datetime],
) -> None:
    """Give the candidate the days it was judged on, and what was added to the live version and is
    in neither file. Before it is promoted: the first request finds everything there."""
    new = open_live(version.path, home=home, device=device, clock=clock)
    stamp = live.additions.stamp()
    added = [
        {"item_id": item.item_id, **{n: v for n, v in item.fields.items() if n != "text"}}
        for item in live.additions.items(stamp)
        if item.item_id not in new.base.item_rows
    ]
    if added:
        frame = pd.DataFrame(added)
        frame.to_parquet(work / "items.parquet", index=False)
        encoder = _encoder(new.base, version, home, device)
        import_items(new, encoder, work / "items.parquet", {})
    import_events(new, later, {})
    events = live.additions.events(stamp)
    if len(events):
        add_events(new, events)
    new.additions.close()


def _encoder(
    base: Recommender, version: ModelVersion, home: Home, device: Device
) -> Callable[[], Embedder]:
    return cache(lambda: open_encoder(base.bundle.encoder, version.path, home, device=device))
