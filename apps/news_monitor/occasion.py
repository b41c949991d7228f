"""Why a mail about one alert goes: it opened, it still fires, it has become more severe."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from apps.news_monitor.thresholds import Severity


@dataclass(frozen=True)
class Occasion:
    """As kept with a mail that is owed; without anything the alert has opened.

    reminder: it still fires, and nobody has acknowledged it. was: the severity from which it has
    risen. hushed: it opened while its topic was silenced. evidence: what the mail tells, where the
    alert's own has been renewed since; "" where it has not.
    """

    reminder: bool = False
    was: Severity | None = None
    hushed: bool = False
    evidence: str = ""

    @property
    def title(self) -> str:
        """What stands before the subject."""
        if self.was is not None:
            return "Risen: "
        return "Reminder: " if self.reminder else ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | None, revision: int) -> "Occasion":
        """revision: without anything kept, those after the first are reminders."""
        if text is None:
            return cls(reminder=revision > 1)
        raw: dict[str, Any] = json.loads(text)
        return cls(**raw)

    def before(self, evidence: str) -> "Occasion":
        """Still with this evidence, which is now renewed."""
        return self if self.evidence else replace(self, evidence=evidence)
