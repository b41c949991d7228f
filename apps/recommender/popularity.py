"""How often each item was taken, in all and in a window that ends at a moment."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.recommender.interactions import DAY, Interactions

SECOND = 1_000_000  # microseconds


@dataclass(frozen=True, eq=False)
class ItemClock:
    """Every event as one number, item · span + second, sorted: a count is two binary searches.

    start: the second of the first event. span: seconds of the log and two more.
    """

    keys: NDArray[np.int64]
    start: int
    span: int
    n_items: int

    def count(
        self, items: NDArray[np.int64], until: NDArray[np.int64], days: float | None
    ) -> NDArray[np.int64]:
        """(m,) events of each item before `until` (microseconds), since `days` earlier or ever."""
        end = self._place(items, until)
        if days is None:
            return end - np.searchsorted(self.keys, items * self.span)
        return end - self._place(items, until - round(days * DAY))

    def last(self, items: NDArray[np.int64], until: NDArray[np.int64]) -> NDArray[np.float64]:
        """(m,) days from each item's last event before `until` to then; NaN where there is none."""
        place = self._place(items, until) - 1
        key = self.keys[np.clip(place, 0, None)] if len(self.keys) else np.zeros_like(items)
        own = (place >= 0) & (key // self.span == items)
        seconds = until // SECOND - (key % self.span + self.start)
        return np.where(own, seconds * (SECOND / DAY), np.nan)

    def first(self, items: NDArray[np.int64], until: NDArray[np.int64]) -> NDArray[np.float64]:
        """(m,) days from each item's first event to `until`; NaN where it has none before."""
        place = np.searchsorted(self.keys, items * self.span)
        inside = np.clip(place, 0, max(0, len(self.keys) - 1))
        key = self.keys[inside] if len(self.keys) else np.zeros_like(items)
        seconds = until // SECOND - (key % self.span + self.start)
        own = (place < len(self.keys)) & (key // self.span == items) & (seconds > 0)
        return np.where(own, seconds * (SECOND / DAY), np.nan)

    def _place(self, items: NDArray[np.int64], until: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of events sorted before item's `until`."""
        second = np.clip(until // SECOND - self.start, 0, self.span - 1)
        return np.searchsorted(self.keys, items * self.span + second)


def item_clock(log: Interactions) -> ItemClock:
    """The clock over all pairs of the log; a log without times counts positions."""
    seconds = log.time // SECOND if log.has_clock else np.zeros_like(log.time)
    start = int(seconds.min()) if len(log) else 0
    span = (int(seconds.max()) - start if len(log) else 0) + 2
    keys = np.sort(log.item.astype(np.int64) * span + (seconds - start))
    return ItemClock(keys, start, span, log.n_items)


def popularity(log: Interactions, days: float | None = None) -> NDArray[np.float64]:
    """(n_items,) events of each item in the last `days` of the log, or in all of it.

    A log without a clock has no days: all of it counts.
    """
    rows = np.ones(len(log), bool)
    if days is not None and log.has_clock:
        rows = log.time > log.now - round(days * DAY)
    return np.bincount(log.item[rows], minlength=log.n_items).astype(np.float64)


def windowed_order(log: Interactions, windows: tuple[int, ...]) -> NDArray[np.int64]:
    """All items, most wanted first: by the longest window, then ever, then as in the catalogue.

    The longest one, because a short window knows a handful of items of a small shop.
    """
    recent = popularity(log, max(windows, default=None)) if windows else popularity(log)
    return np.lexsort((np.arange(log.n_items), -popularity(log), -recent))
