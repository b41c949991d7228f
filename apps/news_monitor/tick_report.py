"""What one round of the monitor did."""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime

from apps.news_monitor.owed import DeliveryReport


@dataclass(frozen=True)
class SourceReport:
    """How one feed, or one dropped file, fared. problem: one line, "" when all was well."""

    url: str
    status: str
    found: int
    new: int
    problem: str


@dataclass
class TickReport:
    """What one tick did. joined: stories that tell of an event which another told before. lines:
    what a person should know, one sentence each."""

    at: datetime
    sources: list[SourceReport] = field(default_factory=list)
    new: int = 0
    copies: int = 0
    labelled: int = 0
    unlabelled: int = 0
    joined: int = 0
    evaluated: int = 0
    alerts: list[str] = field(default_factory=list)
    mails: DeliveryReport = field(default_factory=DeliveryReport)
    calls: DeliveryReport = field(default_factory=DeliveryReport)
    lines: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str, ensure_ascii=False)
