"""Recommendations from a model folder: for users it knows, for new ones, and for one item."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from apps.recommender.bundle import Bundle, folder_fingerprint, load_bundle
from apps.recommender.features import ItemFacts, item_facts
from apps.recommender.listing import SPARE, Lists, capped, list_users, with_rules
from apps.recommender.neighbours import word_vectoriser
from apps.recommender.reasons import blame, reason, shared_words, word_counts
from apps.recommender.retrieval import CHANNELS, Rows
from apps.recommender.settings import RuleSettings, read_settings
from shared.device import Device, serving_device
from shared.errors import DataError
from shared.settings import Home

COLUMNS = ("user_id", "item_id", "rank", "score", "reason")
USERS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Recommender:
    """A loaded model. rules: of the shop as they are now; those at training do not count.

    fingerprint: names the content of the model folder.
    """

    bundle: Bundle
    rules: RuleSettings
    fingerprint: str
    threads: int | None = None

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        home: Home,  # noqa: ARG003  (every serving class takes it; nothing is cached here)
        threads: int | None = None,
        device: Device = "auto",
        rules: RuleSettings | None = None,
    ) -> "Recommender":
        """device: of the sequence model. rules: by default those of the triptych.toml in use.

        Raises: ModelError when a file is missing or damaged. SettingsError: triptych.toml, or the
        device is not there.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        current = read_settings(os.environ).rules if rules is None else rules
        bundle = load_bundle(folder)
        bundle.channels.sequence.to(serving_device(device))
        return cls(bundle, current, folder_fingerprint(folder), threads)

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

    @cached_property
    def blocked(self) -> Rows:
        rows = [self.item_rows[name] for name in self.rules.blocked if name in self.item_rows]
        return np.array(sorted(rows), np.int64)

    def recommend(
        self, users: Sequence[str] | None = None, k: int = 10, include_seen: bool = False
    ) -> pd.DataFrame:
        """user_id, item_id, rank (1…k), score, reason: users in the order asked for, best first.

        users: None for all. An id the log does not know gets what is popular. Scores are
        comparable within a user. A list is shorter than k where the shop has no more to show.
        """
        if k < 1:
            raise DataError(f"k = {k}: expected 1 or more")
        names = list(self.users if users is None else users)
        frames = [
            self._frame(names[at : at + USERS_AT_ONCE], k, include_seen)
            for at in range(0, max(1, len(names)), USERS_AT_ONCE)
        ]
        return pd.concat(frames, ignore_index=True)

    def similar(self, item_id: str, k: int = 10) -> pd.DataFrame:
        """item_id, title, together, words, meaning: what is near to one item, best first.

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
        best = order[order != row][:k]
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
        user = self.user_rows.get(user_id)
        if user is None or not len(self.bundle.log.items_of(user)):
            listed = self.recommend([user_id], k)
            return pd.DataFrame({"item_id": listed["item_id"], "channels": "popular"})
        lists = self._lists(np.array([user]), k, include_seen=include_seen)
        found = [(i, s) for i, s in zip(lists.item[0], lists.sources[0], strict=True) if i >= 0]
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

    def _lists(self, rows: Rows, k: int, *, include_seen: bool) -> Lists:
        bundle = self.bundle
        lists = list_users(
            bundle.channels,
            self.facts,
            bundle.ranking,
            rows,
            k,
            include_seen=include_seen,
            blocked=self.blocked,
            threads=self.threads,
            deeper=1 if self.rules.per_category is None else SPARE,
        )
        return with_rules(lists, bundle.catalog, self.rules, k)

    def _frame(self, names: Sequence[str], k: int, include_seen: bool) -> pd.DataFrame:
        """The rows of one batch, users in their order."""
        rows = np.array([self.user_rows.get(name, -1) for name in names], np.int64)
        log = self.bundle.log
        warm = rows >= 0
        warm[warm] = np.diff(log.starts)[rows[warm]] > 0
        popular = self._popular(k)
        item = np.full((len(names), k), -1, np.int64)
        score = np.zeros((len(names), k), np.float32)
        reasons = np.full((len(names), k), self._popular_reason, dtype=object)
        item[~warm, : len(popular)] = popular
        score[~warm, : len(popular)] = np.log1p(log.counts[popular])
        if warm.any():
            # A user asked for twice is ranked once.
            unique, place = np.unique(rows[warm], return_inverse=True)
            lists = self._lists(unique, k, include_seen=include_seen)
            wide = lists.item.shape[1]
            item[warm, :wide] = lists.item[place]
            score[warm, :wide] = lists.score[place]
            reasons[warm, :wide] = self._reasons(lists)[place]
        user, column = np.nonzero(item >= 0)
        ids = np.array(self.bundle.catalog.ids, dtype=object)
        return pd.DataFrame(
            {
                "user_id": pd.Series(np.array(names, dtype=object)[user], dtype="str"),
                "item_id": pd.Series(ids[item[user, column]], dtype="str"),
                "rank": (column + 1).astype(np.int32),
                "score": score[user, column],
                "reason": pd.Series(reasons[user, column], dtype="str"),
            }
        )

    def _popular(self, k: int) -> Rows:
        """What a user without a history gets."""
        order = self.bundle.channels.order
        order = order[~np.isin(order, self.blocked)]
        if self.rules.per_category is None:
            return order[:k]
        kept = capped(order[None, :], self.bundle.catalog.categories, k, self.rules.per_category)
        return np.asarray(order[kept[0]], np.int64)

    @property
    def _popular_reason(self) -> str:
        windows = self.bundle.settings.ranking.windows_days
        if self.bundle.log.has_clock and windows:
            return f"popular in the last {max(windows)} days"
        return "popular"

    def _reasons(self, lists: Lists) -> NDArray[np.object_]:
        """(users, k) one line for each listed item."""
        channels, catalog = self.bundle.channels, self.bundle.catalog
        top = np.maximum(lists.item, 0)
        found = blame(
            top,
            lists.asked,
            channels,
            weights=self.bundle.ranking.channel_weights(self.bundle.log.counts[top] == 0),
            spreads=lists.features.spreads,
        )
        texts = np.full(lists.item.shape, "", dtype=object)
        for user, place in np.argwhere(lists.item >= 0):
            column = found.place[user, place]
            origin = int(lists.asked.past.items[user, column]) if column >= 0 else None
            shared: tuple[str, ...] = ()
            name = CHANNELS[found.channel[user, place]]
            if origin is not None and name in ("words", "meaning"):
                listed = catalog.texts[lists.item[user, place]]
                shared = shared_words(catalog.texts[origin], listed, self.word_counts)
            title = None if origin is None else catalog.titles[origin]
            texts[user, place] = reason(title, name, shared, self._popular_reason)
        return texts


def _channel_names(sources: int) -> list[str]:
    return [name for bit, name in enumerate(CHANNELS) if sources >> bit & 1]
