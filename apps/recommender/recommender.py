"""Recommendations from a model folder: for users it knows, for new ones, and for one item."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from apps.recommender.bundle import Bundle, folder_fingerprint, load_bundle
from apps.recommender.day_rules import DayRules, day_rules, read_stock, stock_table
from apps.recommender.features import ItemFacts, item_facts
from apps.recommender.neighbours import word_vectoriser
from apps.recommender.reasons import word_counts
from apps.recommender.retrieval import SOURCES
from apps.recommender.settings import RuleSettings, read_settings
from apps.recommender.shown_lists import ShownLists, shown_lists
from shared.device import Device, serving_device
from shared.errors import DataError
from shared.settings import Home, wanted_device

COLUMNS = ("user_id", "item_id", "rank", "score", "reason")
USERS_AT_ONCE = 512
# A page tries other rules than the shop's own.
RULES_KEPT = 8
# Properties that are made once and depend on the catalogue alone.
OF_CATALOGUE = ("facts", "word_counts", "word_weights", "item_rows")
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock of whoever is given none."""
    return datetime.now(UTC)


@dataclass(frozen=True, eq=False)
class Recommender:
    """A loaded model. rules: of the shop as they are now; those at training do not count.

    fingerprint: names the content of the model folder. clock: tells which campaigns are on.
    """

    bundle: Bundle
    rules: RuleSettings
    fingerprint: str
    threads: int | None = None
    clock: Clock = utc_now
    _day_rules: dict[tuple[RuleSettings, date, tuple[int, int] | None], DayRules] = field(
        default_factory=dict, repr=False
    )

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        home: Home,  # noqa: ARG003  (every serving class takes it; nothing is cached here)
        threads: int | None = None,
        device: Device | None = None,
        rules: RuleSettings | None = None,
        clock: Clock = utc_now,
    ) -> "Recommender":
        """device: of the sequence model. It and the rules: by default those of the triptych.toml in
        use.

        Raises: ModelError when a file is missing or damaged. SettingsError: triptych.toml, or the
        device is not there.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        current = read_settings(os.environ).rules if rules is None else rules
        bundle = load_bundle(folder)
        bundle.channels.sequence.to(serving_device(wanted_device(device, os.environ)))
        return cls(bundle, current, folder_fingerprint(folder), threads, clock)

    def with_bundle(self, bundle: Bundle, fingerprint: str) -> "Recommender":
        """The same over another state of the model. What was made of a catalogue is kept where that
        stays."""
        other = replace(self, bundle=bundle, fingerprint=fingerprint, _day_rules={})
        if bundle.catalog is self.bundle.catalog:
            kept = {name: vars(self)[name] for name in OF_CATALOGUE if name in vars(self)}
            vars(other).update(kept)
        return other

    @property
    def users(self) -> tuple[str, ...]:
        """Ids of all users with a history, in the order of the log."""
        return self.bundle.log.users

    @cached_property
    def facts(self) -> ItemFacts:
        return item_facts(self.bundle.catalog)

    @cached_property
    def word_counts(self) -> Counter[str]:
        return word_counts(self.bundle.catalog.texts)

    @cached_property
    def word_weights(self) -> TfidfVectorizer:
        """What the `words` table was made with, fitted anew: the model folder keeps the table."""
        texts = self.bundle.catalog.texts
        return word_vectoriser(len(texts)).fit(texts)

    @cached_property
    def user_rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.users)}

    @cached_property
    def item_rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.bundle.catalog.ids)}

    @property
    def today(self) -> date:
        """The shop's day, by which campaigns begin and end."""
        return self.clock().astimezone(ZoneInfo(self.rules.time_zone)).date()

    def day_rules(self, day: date | None = None, rules: RuleSettings | None = None) -> DayRules:
        """The rules as they are on a day, by default the shop's today. rules: others than its own.

        A table of stock that has changed is read again. Raises: DataError: it cannot be read.
        """
        wanted = self.rules if rules is None else rules
        key = (wanted, day or self.today, _stamp(wanted))
        if key not in self._day_rules:
            table = stock_table(wanted)
            stock = None if table is None else read_stock(table)
            counts = self.bundle.log.counts
            made = day_rules(wanted, self.bundle.catalog, counts, key[1], stock)
            # Yesterday's are of no more use.
            if len(self._day_rules) >= RULES_KEPT:
                self._day_rules.clear()
            self._day_rules[key] = made
        return self._day_rules[key]

    def recommend(
        self,
        users: Sequence[str] | None = None,
        k: int = 10,
        include_seen: bool = False,
        *,
        day: date | None = None,
        again: bool = True,
    ) -> pd.DataFrame:
        """user_id, item_id, rank (1…k), score, reason: users in the order asked for, best first.

        users: None for all. An id the log does not know gets what is popular. day: by whose rules,
        today's by default. again: with what users are likely to take again, see
        repeats.py. Scores are those of the final ranking, comparable within a user; the
        shop's rules may put an item above one of a higher score. A list is shorter than k where the
        shop has no more to show.
        """
        names = list(self.users if users is None else users)
        rules = self.day_rules(day)
        frames = [
            self.frame(self.shown(part, k, include_seen, rules, again))
            for at in range(0, max(1, len(names)), USERS_AT_ONCE)
            for part in [names[at : at + USERS_AT_ONCE]]
        ]
        return pd.concat(frames, ignore_index=True)

    def shown(
        self,
        users: Sequence[str],
        k: int,
        include_seen: bool,
        rules: DayRules,
        again: bool = True,
    ) -> ShownLists:
        """The lists of one batch of users. Raises: DataError for k below 1."""
        if k < 1:
            raise DataError(f"k = {k}: expected 1 or more")
        return shown_lists(self, users, k, include_seen=include_seen, rules=rules, again=again)

    def similar(self, item_id: str, k: int = 10) -> pd.DataFrame:
        """item_id, title, together, words, meaning: what is near to one item, best first, without
        what the rules leave out today.

        Ordered by the three channels' sum, each against its largest value here.
        Raises: DataError for an unknown item.
        """
        row = self.item_row(item_id)
        channels = self.bundle.channels
        scores = {
            "together": np.asarray(channels.together[row].todense()).ravel(),
            "words": np.asarray(channels.words[row].todense()).ravel(),
            "meaning": channels.meaning @ channels.meaning[row],
        }
        scores["meaning"][row] = 0.0
        total = sum(score / max(float(score.max()), 1e-9) for score in scores.values())
        order = np.argsort(-np.asarray(total), kind="stable")
        best = order[(order != row) & (self.day_rules().refused[order] == 0)][:k]
        catalog = self.bundle.catalog
        return pd.DataFrame(
            {"item_id": [catalog.ids[i] for i in best], "title": [catalog.titles[i] for i in best]}
            | {name: score[best] for name, score in scores.items()}
        )

    def history(self, user_id: str) -> pd.DataFrame:
        """item_id, title, time, weight of a user, newest first; no rows for an unknown one."""
        log, catalog = self.bundle.log, self.bundle.catalog
        user = self.user_rows.get(user_id)
        rows = np.arange(0) if user is None else np.arange(log.starts[user], log.starts[user + 1])
        rows = rows[::-1]
        time = pd.Series(log.time[rows])
        return pd.DataFrame(
            {
                "item_id": [catalog.ids[i] for i in log.item[rows]],
                "title": [catalog.titles[i] for i in log.item[rows]],
                "time": pd.to_datetime(time, unit="us", utc=True) if log.has_clock else time,
                "weight": log.weight[rows],
            }
        )

    def sources(self, user_id: str, k: int = 10, include_seen: bool = False) -> pd.DataFrame:
        """item_id, channels (joined by |): where each item of the user's list came from."""
        shown = self.shown([user_id], k, include_seen, self.day_rules())
        found = [(i, s) for i, s in zip(shown.item[0], shown.sources[0], strict=True) if i >= 0]
        return pd.DataFrame(
            {
                "item_id": [self.bundle.catalog.ids[i] for i, _ in found],
                "channels": ["|".join(_channel_names(int(s))) for _, s in found],
            }
        )

    def item_row(self, item_id: str) -> int:
        """Its row in the catalogue. Raises: DataError for an unknown item."""
        if item_id not in self.item_rows:
            raise DataError(
                f"item {item_id!r} is not in the catalogue ({len(self.item_rows):,} items, "
                f"first: {', '.join(self.bundle.catalog.ids[:3])})"
            )
        return self.item_rows[item_id]

    def frame(self, shown: ShownLists) -> pd.DataFrame:
        """The rows of one batch, users in their order."""
        user, column = np.nonzero(shown.item >= 0)
        ids = self.bundle.catalog.ids
        return pd.DataFrame(
            {
                "user_id": pd.Series(np.array(shown.users, dtype=object)[user], dtype="str"),
                "item_id": pd.Series([ids[row] for row in shown.item[user, column]], dtype="str"),
                "rank": (column + 1).astype(np.int32),
                "score": shown.score[user, column],
                "reason": pd.Series(shown.reason[user, column], dtype="str"),
            }
        )


def _channel_names(sources: int) -> list[str]:
    return [name for bit, name in enumerate(SOURCES) if sources >> bit & 1]


def _stamp(rules: RuleSettings) -> tuple[int, int] | None:
    """(time of the last change, size) of the table of stock; None where there is none."""
    table = stock_table(rules)
    if table is None:
        return None
    try:
        found = table.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
