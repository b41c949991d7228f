"""A loaded recommender that follows what is added to it: a new item or event counts from the next
request on, without a restart."""

import hashlib
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import Lock

from apps.recommender.additions import Additions, Stamp, open_additions
from apps.recommender.growing import Trained, with_events, with_items
from apps.recommender.recommender import Recommender, utc_now
from apps.recommender.settings import RuleSettings
from shared.device import Device
from shared.settings import Home


class LiveRecommender:
    """base: as it was trained. additions: to it. Safe to use from several threads: each request
    goes on with the state that it began with."""

    def __init__(self, base: Recommender, additions: Additions) -> None:
        self.base = base
        self.additions = additions
        self._trained = Trained(base.bundle)
        self._lock = Lock()
        self._stamp = Stamp()
        self._with_items = base.bundle
        self._current = base

    @property
    def stamp(self) -> Stamp:
        """What `current` gave last."""
        return self._stamp

    def current(self, upto: Stamp | None = None) -> Recommender:
        """With all that has been added by now, or by `upto`.

        Raises: ServiceError: the database is not reached.
        """
        wanted = self.additions.stamp() if upto is None else upto
        with self._lock:
            if wanted != self._stamp:
                self._grow(wanted)
            return self._current

    def _grow(self, wanted: Stamp) -> None:
        if wanted.items != self._stamp.items:
            self._with_items = with_items(self._trained, self.additions.items(wanted))
        bundle = with_events(self._with_items, self.additions.events(wanted))
        # A batch that is killed goes on only with the same additions: they are in the fingerprint.
        said = f"{self.base.fingerprint} {wanted.items} {wanted.events}"
        named = hashlib.sha256(said.encode()).hexdigest()[:32]
        unchanged = bundle is self.base.bundle
        self._current = self.base if unchanged else self._current.with_bundle(bundle, named)
        self._stamp = wanted


def open_live(
    folder: Path,
    *,
    home: Home,
    threads: int | None = None,
    device: Device | None = None,
    rules: RuleSettings | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> LiveRecommender:
    """The recommender of a model folder with what was added to it. device, rules: as
    Recommender.load. Raises: as that does."""
    base = Recommender.load(
        folder, home=home, threads=threads, device=device, rules=rules, clock=clock
    )
    additions = open_additions(home, base.fingerprint, environ=os.environ, clock=clock)
    return LiveRecommender(base, additions)
