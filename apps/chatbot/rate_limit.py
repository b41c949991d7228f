"""How often one sender may ask: a bucket of tokens for each, refilled steadily."""

import threading
from collections import OrderedDict
from collections.abc import Callable

# Buckets that are remembered: the one longest unused is forgotten, and would be full again.
MOST_KEYS = 50_000


class RateLimit:
    """A bucket holds a minute's messages, so a burst may use them at once. It counts in this
    process alone. monotonic: seconds of a clock that is never set back."""

    def __init__(self, per_minute: int, monotonic: Callable[[], float]) -> None:
        self._most = float(per_minute)
        self._clock = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, seen at
        self._lock = threading.Lock()

    def wait(self, key: str) -> float:
        """0, and a token is taken; else the seconds until there is one."""
        with self._lock:
            now = self._clock()
            tokens, seen = self._buckets.pop(key, (self._most, now))
            tokens = min(self._most, tokens + (now - seen) * self._most / 60)
            allowed = tokens >= 1
            self._buckets[key] = (tokens - allowed, now)
            if len(self._buckets) > MOST_KEYS:
                self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) * 60 / self._most
