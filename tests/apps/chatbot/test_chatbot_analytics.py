"""Figures from the database against the same figures counted message by message."""

import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from apps.chatbot.analytics import Analytics, Counts, analytics, intent_usage
from apps.chatbot.figure_tables import cluster_points, cluster_table
from apps.chatbot.outcomes_seen import Seen, outcomes_seen
from apps.chatbot.tables import conversations, feedback, handovers, learning, lessons, messages
from apps.chatbot.unanswered import unanswered_clusters
from shared.errors import DataError

NOW = datetime(2026, 3, 11, 15, 0, tzinfo=UTC)  # a Wednesday
SINCE = datetime(2026, 3, 2, tzinfo=UTC)
INTENTS = ("hours", "refund", "track")


@dataclass(frozen=True)
class Said:
    """A message as the oracle counts it."""

    id: int
    sender: str
    role: str
    at: datetime
    decision: str | None = None
    intent: str | None = None
    probability: float | None = None
    model: str | None = None


def chatter(seed: int, count: int = 400) -> list[Said]:
    """Customers who write at random times, answered at random; some of it before the period."""
    rng = random.Random(seed)
    clocks = {f"c{n}": SINCE + timedelta(minutes=rng.randrange(-300, 8000)) for n in range(14)}
    moments = []
    for _ in range(count):
        sender = rng.choice(list(clocks))
        clocks[sender] += timedelta(seconds=rng.choice((5, 60, 900, 3599, 3600, 3601, 30_000)))
        moments.append((clocks[sender], sender))
    said: list[Said] = []
    for at, sender in sorted(moments):
        said.append(Said(len(said) + 1, sender, "customer", at))
        kind = rng.choice(("answer",) * 4 + ("clarify", "clarify", "reject", "handover", "silent"))
        if kind == "silent":
            if rng.random() < 0.5:
                said.append(Said(len(said) + 1, sender, "agent", at))
            continue
        chosen = rng.random() < 0.4
        intent = None if chosen and kind in ("reject", "handover") else rng.choice(INTENTS)
        said.append(
            Said(
                len(said) + 1, sender, "bot", at, kind, intent, None if chosen else 0.8,
                rng.choice(("desk@1", "desk@2")),
            )
        )  # fmt: skip
    return [each for each in said if each.at < NOW + timedelta(days=1)]


def stored(engine: Engine, said: list[Said], thumbs: dict[int, tuple[str, datetime]]) -> None:
    with engine.begin() as connection:
        for sender in sorted({each.sender for each in said}):
            connection.execute(
                insert(conversations).values(sender=sender, state={}, revision=1, updated_at=NOW)
            )
        connection.execute(
            insert(messages), [{**vars(each), "text": f"text {each.id}"} for each in said]
        )
        if thumbs:
            connection.execute(
                insert(feedback),
                [
                    {"message_id": number, "value": value, "comment": "", "at": at}
                    for number, (value, at) in thumbs.items()
                ],
            )


def sessions_of(said: list[Said]) -> list[list[Said]]:
    found: list[list[Said]] = []
    for sender in sorted({each.sender for each in said}):
        own = [each for each in said if each.sender == sender]
        for number, each in enumerate(own):
            if number == 0 or (each.at - own[number - 1].at).total_seconds() > 3600:
                found.append([])
            found[-1].append(each)
    return [session for session in found if any(each.role == "customer" for each in session)]


def ended(session: list[Said]) -> str:
    bots = [each for each in session if each.role == "bot"]
    if not bots or any(e.role == "agent" or e.decision == "handover" for e in session):
        return "handed over"
    return "contained" if bots[-1].decision == "answer" else "left"


def following(said: list[Said], asked: Said) -> Said | None:
    """The bot's next word in the conversation, within an hour."""
    later = [e for e in said if e.sender == asked.sender and e.role == "bot" and e.id > asked.id]
    near = later and (later[0].at - asked.at).total_seconds() <= 3600
    return later[0] if near else None


@pytest.mark.parametrize("seed", [1, 2])
def test_figures_are_those_counted_by_hand(each_engine: Engine, seed: int) -> None:
    said = chatter(seed)
    bots = [each for each in said if each.role == "bot"]
    rng = random.Random(seed)
    thumbs = {e.id: (rng.choice(("up", "down")), e.at) for e in bots if rng.random() < 0.3}
    stored(each_engine, said, thumbs)
    with each_engine.connect() as connection:
        found = analytics(connection, days=10, now=NOW)
        seen = outcomes_seen(connection, SINCE, NOW, model="desk@2")
        used = intent_usage(connection, SINCE, NOW)
    period = [each for each in said if SINCE <= each.at < NOW]
    assert found.since == SINCE
    assert [each.start for each in found.periods] == [
        date(2026, 3, 2) + timedelta(days=n) for n in range(10)
    ]
    for day in found.periods:
        assert day.counts == by_hand(period, thumbs, day.start), day.start
    check_intents(found, period)
    assert seen == seen_by_hand(period, thumbs, "desk@2")
    answered = Counter(e.intent for e in period if e.decision == "answer" and e.intent)
    assert used == dict(answered)


def by_hand(said: list[Said], thumbs: dict[int, tuple[str, datetime]], day: date) -> Counts:
    ends = Counter(ended(each) for each in sessions_of(said) if each[0].at.date() == day)
    own = [each for each in said if each.role == "bot" and each.at.date() == day]
    decided = Counter(each.decision for each in own)
    then = [following(said, each) for each in own if each.decision == "clarify"]
    marks = Counter(value for value, at in thumbs.values() if at.date() == day and at < NOW)
    return Counts(
        sum(ends.values()), ends["contained"], ends["handed over"], ends["left"],
        decided["answer"], decided["clarify"], decided["reject"],
        sum(each is not None and each.decision == "answer" for each in then),
        sum(e is not None and e.probability is None and e.intent is None for e in then),
        marks["up"], marks["down"],
    )  # fmt: skip


def check_intents(found: Analytics, said: list[Said]) -> None:
    ends: dict[str, Counter[str]] = {}
    for session in sessions_of(said):
        for intent in {e.intent for e in session if e.decision in ("answer", "handover")} - {None}:
            ends.setdefault(str(intent), Counter())[ended(session)] += 1
    assert {(e.intent, e.sessions, e.contained, e.handed_over) for e in found.intents} == {
        (intent, sum(c.values()), c["contained"], c["handed over"]) for intent, c in ends.items()
    }


def seen_by_hand(said: list[Said], thumbs: dict[int, tuple[str, datetime]], model: str) -> Seen:
    mine = [each for each in said if each.role == "bot" and each.model == model]
    after_question = {
        then.id
        for each in said
        if each.decision == "clarify" and (then := following(said, each)) is not None
    }
    choices = [e for e in mine if e.id in after_question and e.probability is None]
    marks = Counter(
        thumbs[e.id][0]
        for e in mine
        if e.id in thumbs and e.decision == "answer" and e.probability is not None
    )
    return Seen(
        marks["up"], marks["down"], sum(e.intent is not None for e in choices),
        sum(e.intent is None for e in choices),
        sum(e.decision in ("answer", "clarify") and e.probability is not None for e in mine),
    )  # fmt: skip


def test_weeks_begin_on_monday_and_hold_their_days(engine: Engine) -> None:
    stored(engine, chatter(3), {})
    with engine.connect() as connection:
        days = analytics(connection, days=10, now=NOW)
        weeks = analytics(connection, days=10, now=NOW, step="week")
    assert [each.start for each in weeks.periods] == [date(2026, 3, 2), date(2026, 3, 9)]
    assert weeks.periods[0].counts == sum((each.counts for each in days.periods[:7]), Counts())
    assert weeks.total == days.total
    assert days.total.sessions > 20


def test_refused_questions_and_reasons_of_handovers_are_told(engine: Engine) -> None:
    at = NOW - timedelta(hours=1)
    stored(
        engine,
        [
            Said(1, "ana", "customer", at),
            Said(2, "ana", "bot", at, "reject", "hours", 0.3, "desk@1"),
            Said(3, "ben", "customer", at),
            Said(4, "ben", "bot", at, "answer", "hours", 0.9, "desk@1"),
        ],
        {},
    )
    reasons = (
        "the customer asks for a person",
        "2 messages in a row were not understood; out-of-scope score 3.00 is above 1.00",
        "2 questions back in a row did not settle it; 3 intents remain in the conformal set",
        "the intent is understood, and the bot has no answer to it",
        "an agent wished it",
    )
    with engine.begin() as connection:
        for reason in reasons:
            connection.execute(
                insert(handovers).values(
                    sender="ana", state="closed", reason=reason, question="", ranking=[], slots={},
                    language="en", model="desk@1", queued_at=at, deadline=at, ended_at=at,
                )
            )  # fmt: skip
    with engine.connect() as connection:
        found = analytics(connection, days=1, now=NOW)
    assert [(each.question, each.taken_for, each.probability) for each in found.unanswered] == [
        ("text 1", "hours", 0.3)
    ]
    assert found.handovers == {
        "asked for a person": 1, "not understood": 1, "asked back without end": 1,
        "no answer is there": 1, "other": 1,
    }  # fmt: skip
    rate = next(m for m in found.total.measures if m.name == "unanswered questions")
    assert (rate.value, rate.n) == (0.5, 2)


@pytest.mark.parametrize("days", [0, 401])
def test_a_period_has_bounds(engine: Engine, days: int) -> None:
    with (
        engine.connect() as connection,
        pytest.raises(DataError, match=f"^days {days}: expected between 1 and 400$"),
    ):
        analytics(connection, days=days, now=NOW)


def test_the_period_is_found_by_the_index(engine: Engine) -> None:
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT sender FROM chatbot_message WHERE at >= '2026-03-02' "
            "AND at < '2026-03-11'"
        )
        assert "chatbot_message_by_time" in str(plan.all())


def asked(engine: Engine, number: int, at: datetime, **values: Any) -> None:
    """A customer's message, and the lesson that a round of learning made of it."""
    lesson: dict[str, Any] = {
        "bot": "desk", "kind": "refused", "question": f"question {number}", "answer": "",
        "answer_ids": [], "confidence": 0.0, "must_pass": False, "proposal": "new: dogs",
        "proposal_title": "Dogs?", "state": "new", "found_at": NOW, "message_id": number, **values,
    }  # fmt: skip
    with engine.begin() as connection:
        connection.execute(
            insert(messages).values(id=number, sender="ana", role="customer", text="x", at=at)
        )
        connection.execute(insert(lessons).values(**lesson))


def test_what_could_not_be_answered_is_counted_by_cluster_and_week(each_engine: Engine) -> None:
    engine, day = each_engine, timedelta(days=1)
    with engine.begin() as connection:
        connection.execute(
            insert(conversations).values(sender="ana", state={}, revision=1, updated_at=NOW)
        )
        connection.execute(insert(learning).values(bot="desk", revision=1, read_until=NOW))
        for number, (at, ended) in enumerate(
            [(NOW, NOW), (NOW - 9 * day, NOW), (NOW - 9 * day, NOW), (SINCE - day, NOW),
             (NOW, None)], start=1,
        ):  # fmt: skip
            connection.execute(
                insert(handovers).values(
                    id=number, sender="ana", state="closed" if ended else "waiting", reason="",
                    question="", ranking=[], slots={}, language="en", model="desk@1", queued_at=at,
                    deadline=at, ended_at=ended,
                )
            )  # fmt: skip
    handed = {"kind": "handed_over"}
    asked(engine, 1, NOW, handover_id=1, **handed)
    asked(engine, 2, NOW - 9 * day, handover_id=2, **handed)
    asked(engine, 3, NOW - 9 * day, handover_id=2, **handed)  # two questions of one chat
    asked(engine, 4, SINCE, handover_id=4, **handed)  # its chat began before the period
    asked(engine, 5, SINCE - day)  # before the period
    asked(engine, 6, NOW - day, state="accepted", label="cats", proposal="new: purr",
          proposal_title="Cats?", kind="none_of_these")  # fmt: skip
    asked(engine, 7, NOW - day, state="rejected")
    asked(engine, 8, NOW - day, kind="thumbs_up", label="hours", proposal="hours")
    asked(engine, 9, NOW - 2 * day, proposal="", proposal_title="", bot="shop")
    with engine.connect() as connection:
        found = unanswered_clusters(connection, SINCE, NOW + timedelta(seconds=1))
    # SINCE is a Monday, NOW the Wednesday of the week after.
    assert found.weeks == (date(2026, 3, 2), date(2026, 3, 9))
    assert (found.handovers, found.left_out, found.read_until) == (3, 0, NOW)
    assert [
        (each.bot, each.name, each.title, each.example, each.questions, each.waiting,
         each.handovers, each.share.value, each.share.n, each.weeks)
        for each in found.clusters
    ] == [
        ("desk", "dogs", "Dogs?", "question 4", 4, 4, 2, 2 / 3, 3, (3, 1)),
        ("desk", "cats", "Cats?", "question 6", 1, 0, 0, 0.0, 3, (0, 1)),
        ("shop", "not put together yet", "Not put together yet", "question 9", 1, 1, 0, 0.0, 3,
         (0, 1)),
    ]  # fmt: skip
    points = cluster_points(found, 1)
    assert points["asks"].tolist() == ["Dogs?", "Dogs?", "all others", "all others"]
    assert points["questions"].tolist() == [3, 1, 0, 2]
    table = cluster_table(found)
    assert table["intent"].tolist()[0] == "desk: dogs"
    assert table["this week"].tolist() == [1, 1, 1]
    assert table["review"].tolist() == ["4 wait", "taught", "1 wait"]
