"""When colleagues are there: several openings a day, holidays, in the firm's own time zone."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = timedelta(days=1)
_CLOCK = r"([01]\d|2[0-3]):([0-5]\d)"
_SPAN = re.compile(rf"{_CLOCK}-(?:{_CLOCK}|24:00)")


@dataclass(frozen=True)
class OpeningHours:
    """spans: (weekday, 0 for Monday; first minute; minute after the last), sorted, apart; none:
    always open."""

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    spans: tuple[tuple[int, int, int], ...] = ()
    holidays: frozenset[date] = frozenset()

    @classmethod
    def parse(
        cls, lines: Sequence[str], *, zone: str = "UTC", holidays: Sequence[date] = ()
    ) -> "OpeningHours":
        """Of lines such as `mon-fri 09:00-12:30 13:30-17:00` or `sat,sun 10:00-14:00`.

        Raises ValueError: a line that is none, or openings of a day that overlap.
        """
        spans = sorted(span for line in lines for span in _spans(line))
        for before, after in pairwise(spans):
            if before[0] == after[0] and before[2] > after[1]:
                raise ValueError(f"openings on {DAYS[before[0]]} overlap")
        return cls(ZoneInfo(zone), tuple(spans), frozenset(holidays))

    def is_open(self, at: datetime) -> bool:
        return self.next_opening(at) <= at

    def next_opening(self, at: datetime) -> datetime:
        """`at` while it is open, else when it opens next; UTC."""
        begin, _ = next(self._from(at))
        return max(begin, at.astimezone(UTC))

    def after(self, at: datetime, wait: timedelta) -> datetime:
        """The moment by which it has been open for `wait` since `at`; UTC."""
        for begin, end in self._from(at):
            begin = max(begin, at.astimezone(UTC))
            if begin + wait <= end:
                return begin + wait
            wait -= end - begin
        raise AssertionError("openings never end")

    def _from(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The openings that end after `at`, in order."""
        if not self.spans:
            yield at.astimezone(UTC), datetime.max.replace(tzinfo=UTC)
            return
        day = at.astimezone(self.zone).date()
        while True:
            for weekday, first, last in self.spans:
                if weekday != day.weekday() or day in self.holidays:
                    continue
                end = self._moment(day, last)
                if end > at:
                    yield self._moment(day, first), end
            day += DAY

    def _moment(self, day: date, minute: int) -> datetime:
        days, minute = divmod(minute, 24 * 60)
        clock = time(minute // 60, minute % 60)
        return datetime.combine(day + days * DAY, clock, self.zone).astimezone(UTC)


def _spans(line: str) -> Iterator[tuple[int, int, int]]:
    days, *clocks = line.lower().split()[:20] or [""]
    found = [_SPAN.fullmatch(clock) for clock in clocks]
    if not found:
        raise ValueError(_wrong(line))
    for match in found:
        if match is None:
            raise ValueError(_wrong(line))
        first = int(match[1]) * 60 + int(match[2])
        last = 24 * 60 if match[3] is None else int(match[3]) * 60 + int(match[4])
        if last <= first:
            raise ValueError(f"{match.group()} ends before it begins; split it at midnight")
        for day in _weekdays(days, line):
            yield day, first, last


def _weekdays(text: str, line: str) -> Iterator[int]:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(_wrong(line))
        begin, end = DAYS.index(first), DAYS.index(last or first)
        yield from range(begin, end + 1 if begin <= end else 7)
        if begin > end:
            yield from range(end + 1)


def _wrong(line: str) -> str:
    return f"expected opening hours such as 'mon-fri 09:00-12:30 13:30-17:00', not {line!r}"
