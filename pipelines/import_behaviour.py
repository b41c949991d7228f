"""What is added to a recommender between two trainings."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from shared.device import Device
from shared.errors import DataError
from shared.registry import Registry
from shared.settings import Home

if TYPE_CHECKING:
    from apps.recommender.importing import Imported


@dataclass(frozen=True)
class Added:
    """What an import did: of each file, None where none was given."""

    model: str
    items: "Imported | None"
    events: "Imported | None"
    seconds: float

    @property
    def lines(self) -> tuple[str, ...]:
        given = {"items": self.items, "events": self.events}
        done = [found.line(noun) for noun, found in given.items() if found is not None]
        return (*done, f"{self.model} serves them from now on ({self.seconds:.1f} s)")

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def import_to_recommender(
    *,
    model: str,
    items: Path | None,
    events: Path | None,
    mapping: Mapping[str, str],
    home: Home,
    threads: int | None,
    device: Device = "auto",
    clock: Callable[[], datetime],
    say: Callable[[str], None],
) -> Added:
    """Items first, so that events on them find them. May be killed and repeated: nothing is added
    twice.

    Raises:
        ModelError: no such model, or its encoder is gone. DataError: neither file, or one cannot be
        read. ServiceError: the database is not reached.
    """
    from apps.recommender.auditing import open_encoder
    from apps.recommender.importing import import_events, import_items
    from apps.recommender.live import open_live

    started = time.monotonic()
    if items is None and events is None:
        raise DataError("nothing to import: give --items, --events, or both")
    version = Registry(home.models, clock).resolve(model, app="recommender")
    live = open_live(version.path, home=home, threads=threads, device=device, clock=clock)
    note = live.base.bundle.encoder
    of_items = of_events = None
    if items is not None:
        encoder = cache(lambda: open_encoder(note, version.path, home, device=device))
        of_items = import_items(live, encoder, items, mapping, say)
    if events is not None:
        of_events = import_events(live, events, mapping, say)
    return Added(version.reference, of_items, of_events, time.monotonic() - started)
