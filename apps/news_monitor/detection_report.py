"""What judging found: alerts that opened, those held back, attention, and what it rests on."""

from dataclasses import dataclass, field
from datetime import datetime

from apps.news_monitor.attention import Attention
from apps.news_monitor.mail import names_of
from apps.news_monitor.opening import Opened


@dataclass(frozen=True)
class Held:
    """A topic that scored above the threshold and was held back. coverage: see Coverage.share."""

    topic: str
    at: datetime
    coverage: float
    missing: tuple[str, ...]


@dataclass
class DetectionReport:
    """evaluated: moments judged (each over all topics). held: alerts that did not open because too
    few of the topic's sources delivered, moment by moment. attention: more news than usual that is
    no worse, as it began. together: how many alerts the last common mail stands for, 0 without one.
    judged: the last epoch hour that was judged before, and the last one now; None without any.
    note: why nothing was judged, if so, or what was judged wrongly before."""

    evaluated: int = 0
    judged: tuple[int, int] | None = None
    opened: list[Opened] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    attention: list[Attention] = field(default_factory=list)
    together: int = 0
    resolved: int = 0
    threshold: float | None = None
    note: str = ""


def held_line(held: Held) -> str:
    """Such as "Oil, 14:00: held back, 40% of its usual sources delivered; silent: Agency"."""
    silent = f"; silent: {names_of(held.missing)}" if held.missing else ""
    return (
        f"{held.topic}, {held.at:%H:%M}: an alert is held back, only {held.coverage:.0%} of the "
        f"topic's usual sources delivered{silent}"
    )
