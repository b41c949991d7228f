"""`triptych recommender trial …`: lists of two versions for the users of a trial, and what came of
it."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from apps.recommender.formats import read_event_file
from apps.recommender.growing import event_weights
from apps.recommender.settings import read_settings
from apps.recommender.trial import COLUMNS, LISTED_AT, Arm, arms_of, interleaved
from apps.recommender.trial_analysis import (
    TrialResult,
    analyse_interleaved,
    analyse_split,
    credited,
)
from shared.device import Device
from shared.errors import DataError
from shared.registry import Registry
from shared.settings import Home
from shared.tables import Column, read_table, write_table

USERS_AT_ONCE = 2048


@dataclass(frozen=True)
class Listed:
    """What was written: rows, users, and of these in each arm (of a split)."""

    rows: int
    users: int
    arms: dict[str, int]
    output: str

    @property
    def line(self) -> str:
        told = ", ".join(f"{model} {users:,}" for model, users in self.arms.items())
        return f"{self.rows:,} rows for {self.users:,} users ({told}): {self.output}"


def parsed_arms(given: Sequence[str]) -> list[tuple[str, float]]:
    """ "shop@2=0.1" -> (shop@2, .1); without shares all are alike. Raises: DataError."""
    told = [arm.partition("=") for arm in given]
    if not any(sign for _, sign, _ in told):
        return [(model, 1 / len(given)) for model, _, _ in told]
    try:
        return [(model, float(share)) for model, _, share in told]
    except ValueError:
        raise DataError(
            f"arms {', '.join(given)}: expected NAME@VERSION for each, or NAME@VERSION=SHARE for "
            "each"
        ) from None


def trial_lists(
    trial: str,
    arms: Sequence[str],
    *,
    interleave: bool,
    users: Sequence[str] | None,
    k: int,
    output: Path,
    home: Home,
    threads: int | None,
    device: Device = "auto",
    clock: Callable[[], datetime],
) -> Listed:
    """Write trial.COLUMNS and LISTED_AT: each user's list by the version of the user's arm, or one
    list of both.

    users: all that the first version knows by default.
    Raises: ModelError: no such version. DataError: arms that make no trial, or `output`.
    """
    from apps.recommender.live import open_live

    registry = Registry(home.models, clock)
    named = [(registry.resolve(model, app="recommender"), share)
             for model, share in parsed_arms(arms)]  # fmt: skip
    chosen = [Arm(version.reference, share) for version, share in named]
    models = {
        version.reference: open_live(
            version.path, home=home, threads=threads, device=device, clock=clock
        ).current()
        for version, _ in named
    }
    wanted = list(dict.fromkeys(models[chosen[0].model].users if users is None else users))
    owner = arms_of(trial, wanted, chosen)
    if interleave and len(chosen) != 2:
        raise DataError(f"{len(chosen)} arms; interleaving compares two")
    frames = []
    for at in range(0, len(wanted), USERS_AT_ONCE):
        some, whose = wanted[at : at + USERS_AT_ONCE], owner[at : at + USERS_AT_ONCE]
        if interleave:
            first, second = (arm.model for arm in chosen)
            both = (models[first].recommend(some, k), models[second].recommend(some, k))
            frames.append(interleaved(trial, (first, second), both, k))
            continue
        for arm in chosen:
            mine = [user for user, model in zip(some, whose, strict=True) if model == arm.model]
            if mine:
                frames.append(models[arm.model].recommend(mine, k).assign(arm=arm.model))
    table = pd.concat(frames, ignore_index=True)[list(COLUMNS)]
    write_table(table.assign(**{LISTED_AT: clock().isoformat(timespec="seconds")}), output)
    counts = table.groupby("arm")["user_id"].nunique()
    found = {arm.model: int(counts.get(arm.model, 0)) for arm in chosen}
    return Listed(len(table), int(table["user_id"].nunique()), found, str(output))


def trial_result(
    lists: Path,
    events: Path,
    mapping: Mapping[str, str],
    arms: Sequence[str],
    *,
    begins: datetime | None,
    ends: datetime | None,
    kinds: Sequence[str],
) -> TrialResult:
    """lists: of `trial_lists`. arms: the first is what the others are measured against; by default
    those of the lists, in alphabetical order and with equal shares. begins: when the lists were
    made by default, and not before: what a list was made from is no answer to it. kinds: event
    types that count; all by default.

    Raises: DataError: a file, or nothing to compare.
    """
    columns = [Column("user_id"), Column("item_id"), Column("arm")]
    table = read_table(lists, [*columns, Column(LISTED_AT, kind="timestamp")]).frame
    made = table[LISTED_AT].max()
    started = made if begins is None else pd.Timestamp(begins)
    if started < made:
        raise DataError(
            f"{lists}: its lists were made at {made:%Y-%m-%d %H:%M:%S} UTC, after the beginning "
            f"{started:%Y-%m-%d %H:%M:%S}: what users did before cannot be an answer to them"
        )
    present = sorted(table["arm"].unique())
    named = parsed_arms(arms or present)
    for model, _ in named:
        if model not in present:
            raise DataError(f"{lists}: has no arm {model!r}; it has: {', '.join(present)}")
    raw = read_event_file(events, mapping)
    if not raw.has_clock:
        raise DataError(
            f"{events}: has no times, so that it is not known what came after the lists"
        )
    frame = raw.frame
    kind = frame["event"].astype("str").str.strip().str.lower() if "event" in frame else "view"
    frame = frame.assign(event=kind, value=frame.get("value", float("nan")))
    weight = event_weights(frame, read_settings(os.environ).events)
    frame = frame.assign(
        weight=weight,
        user_id=frame["user_id"].astype("str").str.strip(),
        item_id=frame["item_id"].astype("str").str.strip(),
    )
    if kinds:
        frame = frame[frame["event"].isin([name.strip().lower() for name in kinds])]
    last = pd.Timestamp.max.tz_localize(UTC) if ends is None else pd.Timestamp(ends)
    hits = credited(table, frame, started, last)
    models = [model for model, _ in named]
    both = table.groupby("user_id")["arm"].nunique().max() > 1
    if both:
        return analyse_interleaved(table, hits, models)
    return analyse_split(table, hits, models, [share for _, share in named])
