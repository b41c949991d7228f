"""How the bot fares with customers, from the database: sessions, handovers, questions back, thumbs.

A session is what one customer writes without a pause of an hour. It was *handed over* when a person
was asked into it, *contained* when it was not and ended with an answer, and *left* when it ended on
a refusal or an open question. (Dialogflow CX counts what is left as contained: the bot looks better
that way.) Days are UTC. Each figure is one query over the messages of the period, by their time.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, case, func, select

from apps.chatbot.outcomes_seen import bot_turns, count_if, epoch, in_order
from apps.chatbot.risk import share
from apps.chatbot.tables import feedback, handovers, messages
from apps.chatbot.unanswered import Clusters, unanswered_clusters
from shared.errors import DataError
from shared.evaluation.report import Measure

Step = Literal["day", "week"]
PAUSE_SECONDS = 3600
DAY = 86_400
LONGEST_DAYS = 400
LISTED = 50  # unanswered questions that are shown
NO_INTENT = "(no intent)"
# What a handover's reason tells, and how it is known by its words.
WISH, UNCLEAR, UNSETTLED, NO_ANSWER, OTHER = (
    "asked for a person", "not understood", "asked back without end", "no answer is there", "other",
)  # fmt: skip
REASONS = {
    "the customer asks for a person": WISH,
    "the intent is to reach a person": WISH,
    "% messages in a row were not understood%": UNCLEAR,
    "the customer means none of the offered intents": UNCLEAR,
    "% questions back in a row did not settle it%": UNSETTLED,
    "the intent is understood, and the bot has no answer to it": NO_ANSWER,
}


@dataclass(frozen=True)
class Counts:
    """Of a day, a week or the whole. sessions = contained + handed_over + left. answered,
    asked_back, refused: messages of the bot. settled: questions back after which it answered within
    an hour; none_of_these: those to which the customer meant none of the options."""

    sessions: int = 0
    contained: int = 0
    handed_over: int = 0
    left: int = 0
    answered: int = 0
    asked_back: int = 0
    refused: int = 0
    settled: int = 0
    none_of_these: int = 0
    thumbs_up: int = 0
    thumbs_down: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The shares with 95 % intervals; none where nothing was counted."""
        thumbs = self.thumbs_up + self.thumbs_down
        said = self.answered + self.asked_back + self.refused
        return (
            share("contained sessions", self.contained, self.sessions),
            share("handover rate", self.handed_over, self.sessions),
            share("left without an answer", self.left, self.sessions),
            share("clarify success", self.settled, self.asked_back),
            share("unanswered questions", self.refused, said),
            share("thumbs up", self.thumbs_up, thumbs),
        )


@dataclass(frozen=True)
class Period:
    """A day, or a week that begins on this Monday; the first and the last may be cut."""

    start: date
    counts: Counts


@dataclass(frozen=True)
class IntentUse:
    """sessions: in which the bot decided on the intent; contained, handed_over: of these."""

    intent: str
    sessions: int
    contained: int
    handed_over: int
    thumbs_up: int
    thumbs_down: int

    @property
    def containment(self) -> Measure:
        return share("containment", self.contained, self.sessions)


@dataclass(frozen=True)
class Unanswered:
    """A question that was refused; taken_for: the likeliest intent, of its probability."""

    at: datetime
    question: str
    taken_for: str
    probability: float | None


@dataclass(frozen=True)
class Analytics:
    """All figures of [since, until). handovers: why chats were handed over, how many of each.
    unanswered: what was refused last; clusters: what could not be answered, by what was asked."""

    since: datetime
    until: datetime
    step: Step
    total: Counts
    periods: tuple[Period, ...]
    intents: tuple[IntentUse, ...]
    handovers: Mapping[str, int]
    unanswered: tuple[Unanswered, ...]
    clusters: Clusters

    def as_dict(self) -> dict[str, Any]:
        """For machines: every share with its interval."""
        found = asdict(self)
        found["total"]["measures"] = [asdict(m) for m in self.total.measures]
        for stored, period in zip(found["periods"], self.periods, strict=True):
            stored["counts"]["measures"] = [asdict(m) for m in period.counts.measures]
        for stored, intent in zip(found["intents"], self.intents, strict=True):
            stored["containment"] = asdict(intent.containment)
        return found


def analytics(connection: Connection, *, days: int, now: datetime, step: Step = "day") -> Analytics:
    """The figures of the last `days` days, today included.

    Raises DataError: days out of range.
    """
    if not 1 <= days <= LONGEST_DAYS:
        raise DataError(f"days {days}: expected between 1 and {LONGEST_DAYS}")
    until = now.astimezone(UTC)
    midnight = until.replace(hour=0, minute=0, second=0, microsecond=0)
    since = midnight - timedelta(days=days - 1)
    by_day = _by_day(connection, since, until)
    periods = _in_steps(by_day, since.date(), until.date(), step)
    return Analytics(
        since,
        until,
        step,
        sum((period.counts for period in periods), Counts()),
        periods,
        _intents(connection, since, until),
        _reasons(connection, since, until),
        _unanswered(connection, since, until),
        unanswered_clusters(connection, since, until),
    )


def intent_usage(connection: Connection, since: datetime, until: datetime) -> dict[str, int]:
    """Intent -> how often the bot answered it in [since, until)."""
    query = (
        select(messages.c.intent, func.count())
        .where(
            messages.c.at >= since, messages.c.at < until, messages.c.decision == "answer",
            messages.c.intent.is_not(None),
        )
        .group_by(messages.c.intent)
    )  # fmt: skip
    return {str(intent): int(count) for intent, count in connection.execute(query)}


def sessions_query(since: datetime, until: datetime) -> Select[Any]:
    """(sender, session, start, handed, end, customers): one row a session. start: in seconds since
    1970; handed: 1 or 0; end: id of the bot's last message, NULL where it was silent."""
    marked = _in_sessions(since, until).subquery()
    by_person = (marked.c.role == "agent") | (marked.c.decision == "handover")
    return (
        select(
            marked.c.sender, marked.c.session,
            func.min(marked.c.seconds).label("start"),
            func.max(case((by_person, 1), else_=0)).label("handed"),
            func.max(case((marked.c.role == "bot", marked.c.id))).label("end"),
            count_if(marked.c.role == "customer").label("customers"),
        )
        .group_by(marked.c.sender, marked.c.session)
    )  # fmt: skip


def _in_sessions(since: datetime, until: datetime) -> Select[Any]:
    """Every message of the period with the number of its sender's session."""
    seconds = epoch(messages.c.at)
    gap = seconds - in_order(func.lag(seconds))
    seen = (
        select(
            messages.c.sender, messages.c.id, messages.c.role, messages.c.decision,
            messages.c.intent, seconds.label("seconds"),
            case((gap > PAUSE_SECONDS, 1), else_=0).label("begins"),
        )
        .where(messages.c.at >= since, messages.c.at < until)
        .subquery()
    )  # fmt: skip
    number = func.sum(seen.c.begins).over(partition_by=seen.c.sender, order_by=seen.c.id)
    return select(
        seen.c.sender, seen.c.id, seen.c.role, seen.c.decision, seen.c.intent, seen.c.seconds,
        number.label("session"),
    )  # fmt: skip


def _ended(sessions: Any) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Whether a session was handed over, and whether it was contained; last: joined by `end`.

    Where the bot said nothing a person was in charge from before.
    """
    handed = (sessions.c.handed == 1) | sessions.c.end.is_(None)
    return handed, ~handed & (messages.c.decision == "answer")


def _by_day(connection: Connection, since: datetime, until: datetime) -> dict[date, Counts]:
    found: defaultdict[date, Counts] = defaultdict(Counts)
    for number, counts in (
        *_sessions(connection, since, until),
        *_turns(connection, since, until),
        *_thumbs(connection, since, until),
    ):
        found[_date(number)] += counts
    return found


def _sessions(
    connection: Connection, since: datetime, until: datetime
) -> Iterable[tuple[int, Counts]]:
    sessions = sessions_query(since, until).subquery()
    handed, contained = _ended(sessions)
    day = sessions.c.start // DAY
    query = (
        select(day, func.count(), count_if(contained), count_if(handed))
        .select_from(sessions.outerjoin(messages, messages.c.id == sessions.c.end))
        .where(sessions.c.customers > 0)
        .group_by(day)
    )
    for number, all_, kept, passed in connection.execute(query):
        yield number, Counts(all_, kept, passed, all_ - kept - passed)


def _turns(
    connection: Connection, since: datetime, until: datetime
) -> Iterable[tuple[int, Counts]]:
    said = bot_turns(since, until).subquery()
    asked = said.c.decision == "clarify"
    settled = asked & (said.c.after == "answer")
    none = asked & said.c.after_by_choice & said.c.after_intent.is_(None)
    day = said.c.seconds // DAY
    query = select(
        day, count_if(said.c.decision == "answer"), count_if(asked),
        count_if(said.c.decision == "reject"), count_if(settled),
        count_if(none & said.c.after.is_not(None)),
    ).group_by(day)  # fmt: skip
    for number, answered, back, refused, well, neither in connection.execute(query):
        yield (
            number,
            Counts(
                answered=answered,
                asked_back=back,
                refused=refused,
                settled=well,
                none_of_these=neither,
            ),
        )


def _thumbs(
    connection: Connection, since: datetime, until: datetime
) -> Iterable[tuple[int, Counts]]:
    day = epoch(feedback.c.at) // DAY
    query = (
        select(day, count_if(feedback.c.value == "up"), count_if(feedback.c.value == "down"))
        .where(feedback.c.at >= since, feedback.c.at < until)
        .group_by(day)
    )
    for number, up, down in connection.execute(query):
        yield number, Counts(thumbs_up=up, thumbs_down=down)


def _intents(connection: Connection, since: datetime, until: datetime) -> tuple[IntentUse, ...]:
    """The most asked first."""
    sessions = sessions_query(since, until).subquery()
    marked = _in_sessions(since, until).subquery()
    spoken = (
        select(marked.c.sender, marked.c.session, marked.c.intent)
        .where(
            marked.c.role == "bot", marked.c.intent.is_not(None),
            marked.c.decision.in_(("answer", "handover")),
        )
        .distinct()
        .subquery()
    )  # fmt: skip
    handed, contained = _ended(sessions)
    ends = select(sessions.c.sender, sessions.c.session, contained, handed).select_from(
        sessions.outerjoin(messages, messages.c.id == sessions.c.end)
    )
    # Joined here: a database without an index on what it has just counted compares all pairs.
    ended = {(s, n): (int(kept), int(gone)) for s, n, kept, gone in connection.execute(ends)}
    counted: dict[str, list[int]] = {}
    for sender, number, intent in connection.execute(select(spoken)):
        kept, gone = ended[sender, number]
        of_intent = counted.setdefault(intent, [0, 0, 0])
        of_intent[0] += 1
        of_intent[1] += kept
        of_intent[2] += gone
    thumbs = (
        select(
            messages.c.intent,
            count_if(feedback.c.value == "up"),
            count_if(feedback.c.value == "down"),
        )
        .join(messages, messages.c.id == feedback.c.message_id)
        .where(feedback.c.at >= since, feedback.c.at < until, messages.c.intent.is_not(None))
        .group_by(messages.c.intent)
    )
    rated = {intent: (up, down) for intent, up, down in connection.execute(thumbs)}
    return tuple(
        IntentUse(intent, all_, kept, passed, *rated.get(intent, (0, 0)))
        for intent, (all_, kept, passed) in sorted(
            counted.items(), key=lambda each: (-each[1][0], each[0])
        )
    )


def _reasons(connection: Connection, since: datetime, until: datetime) -> dict[str, int]:
    kind = case(
        *((handovers.c.reason.like(words), name) for words, name in REASONS.items()), else_=OTHER
    )
    query = (
        select(kind, func.count())
        .where(handovers.c.queued_at >= since, handovers.c.queued_at < until)
        .group_by(kind)
    )
    counted = {str(name): int(count) for name, count in connection.execute(query)}
    return {
        name: counted[name]
        for name in (WISH, UNCLEAR, UNSETTLED, NO_ANSWER, OTHER)
        if name in counted
    }


def _unanswered(connection: Connection, since: datetime, until: datetime) -> tuple[Unanswered, ...]:
    """What was refused last."""
    asked = messages.alias("asked")
    before = (
        select(asked.c.text)
        .where(
            asked.c.sender == messages.c.sender, asked.c.id < messages.c.id,
            asked.c.role == "customer",
        )
        .order_by(asked.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )  # fmt: skip
    query = (
        select(messages.c.at, before, messages.c.intent, messages.c.probability)
        .where(
            messages.c.at >= since, messages.c.at < until, messages.c.decision == "reject",
            messages.c.intent.is_not(None),
        )
        .order_by(messages.c.at.desc())
        .limit(LISTED)
    )  # fmt: skip
    return tuple(
        Unanswered(at, question or "", intent, probability)
        for at, question, intent, probability in connection.execute(query)
    )


def _in_steps(
    by_day: Mapping[date, Counts], first: date, last: date, step: Step
) -> tuple[Period, ...]:
    """Every day, or every week, of the period, also those in which nothing was said."""
    start: Callable[[date], date] = (
        (lambda day: day) if step == "day" else (lambda day: day - timedelta(days=day.weekday()))
    )
    found: dict[date, Counts] = {}
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        found[start(day)] = found.get(start(day), Counts()) + by_day.get(day, Counts())
    return tuple(Period(begin, counts) for begin, counts in found.items())


def _date(number: int) -> date:
    """The day of this number since 1970."""
    return date(1970, 1, 1) + timedelta(days=int(number))
