"""From the bot to a person and back: who is in charge, what the customer is told, who wins."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import Engine

from apps.chatbot.answers import AnswerBook
from apps.chatbot.bot import Bot
from apps.chatbot.conversation import Conversations
from apps.chatbot.handover import (
    Handover,
    HandoverConflictError,
    HandoverNotFoundError,
    Handovers,
    Waits,
)
from apps.chatbot.opening_hours import OpeningHours
from apps.chatbot.phrases import phrases_for
from apps.chatbot.suggestions import Suggestion, suggestions
from apps.chatbot.tracker import tracker
from apps.chatbot.turns import Limits
from shared.errors import DataError

MONDAY = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
EN = phrases_for("en")


@dataclass
class Clock:
    now: datetime = MONDAY

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


Open = Callable[..., Conversations]


@pytest.fixture
def open_talk(scripted_bot: Bot, clock: Clock) -> Open:
    """Conversations on an engine as another process would open them."""

    def opened(engine: Engine, hours: OpeningHours | None = None) -> Conversations:
        waits = Waits(timedelta(minutes=30), timedelta(minutes=15))
        return Conversations(
            scripted_bot, engine, model="demo@1", limits=Limits(2, 2), clock=clock,
            handovers=Handovers(engine, clock=clock, hours=hours, waits=waits),
        )  # fmt: skip

    return opened


@pytest.fixture
def talk(open_talk: Open, engine: Engine) -> Conversations:
    return open_talk(engine)


def handed_over(talk: Conversations, sender: str = "ana") -> int:
    assert talk.handle(sender, "human please").decision == "handover"
    return talk.handovers.listed()[-1].id


def told(talk: Conversations, sender: str = "ana") -> list[str]:
    return [f"{each.role}: {each.text}" for each in talk.said_since(sender, 0)]


def test_a_chat_from_the_bot_to_a_person_and_back(open_talk: Open, each_engine: Engine) -> None:
    talk = open_talk(each_engine)
    talk.handle("ana", "hours for order KB-20418 ?")
    number = handed_over(talk)
    assert talk.handle("ana", "hello?").text == EN.in_charge
    talk.handovers.take(number, "mia")
    assert talk.handle("ana", "are you there?").decision == "silent"
    talk.handovers.reply(number, "mia", "I am. What can I do?")
    turn = talk.handle("ana", "refund me")
    assert turn.text == ""
    assert [(each.role, each.text) for each in turn.missed] == [("agent", "I am. What can I do?")]
    talk.handovers.give_back(number, "mia")
    assert talk.handle("ana", "hours").text == "We open at nine."
    assert told(talk) == [
        "bot: We open at nine.",
        f"bot: {EN.handover}",
        f"bot: {EN.in_charge}",
        f"notice: {EN.joined}",
        "agent: I am. What can I do?",
        f"notice: {EN.returned}",
        "bot: We open at nine.",
    ]


def test_the_queue_says_why_and_what_the_bot_knew(talk: Conversations) -> None:
    talk.handle("ana", "hours for order KB-20418 ?")
    number = handed_over(talk)
    (found,) = talk.handovers.listed()
    assert found == Handover(
        id=number, sender="ana", state="waiting", reason="the customer asks for a person",
        question="hours for order KB-20418 ?", ranking=(("hours", 0.9), ("track", 0.06)),
        slots={"order_id": "KB-20418"}, language="en", model="demo@1", agent=None,
        queued_at=MONDAY, taken_at=None, deadline=MONDAY + timedelta(minutes=30), ended_at=None,
        ended_by=None,
    )  # fmt: skip
    _, said = talk.handovers.get(number)
    assert [(each.role, each.decision) for each in said] == [
        ("customer", None), ("bot", "answer"), ("customer", None), ("bot", "handover"),
    ]  # fmt: skip


def test_the_matter_is_not_looked_for_in_what_was_said_long_ago(
    talk: Conversations, clock: Clock
) -> None:
    talk.handle("ana", "hours")
    clock.pass_(61)
    handed_over(talk)
    (found,) = talk.handovers.listed()
    assert (found.question, found.ranking[0]) == ("human please", ("human", 0.9))


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (["gibberish", "gibberish"], "2 messages in a row were not understood; script"),
        (["unsure"] * 3, "2 questions back in a row did not settle it; script"),
        (["unknown fee"], "the intent is understood, and the bot has no answer to it"),
        (
            ["gibberish", "unsure", "none of these"],
            "the customer means none of the offered intents",
        ),
    ],
)
def test_each_rule_that_hands_over_is_named(
    talk: Conversations, messages: list[str], reason: str
) -> None:
    turns = [talk.handle("ana", text) for text in messages]
    assert turns[-1].decision == "handover"
    (found,) = talk.handovers.listed()
    assert found.reason == reason
    # A choice is not ranked itself: then it is what was asked before.
    assert found.ranking[1:3] == (("track", 0.06), ("hours", 0.04))


def test_of_two_agents_one_gets_the_chat(open_talk: Open, each_engine: Engine) -> None:
    talk, number = open_talk(each_engine), 0
    number = handed_over(talk)
    start, outcomes = Barrier(4), []

    def agent(name: str) -> None:
        others = open_talk(each_engine).handovers
        start.wait()
        try:
            outcomes.append(others.take(number, name).agent)
        except HandoverConflictError as error:
            outcomes.append(str(error))

    threads = [Thread(target=agent, args=(name,)) for name in ("mia", "ben", "eva", "tom")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (found,) = talk.handovers.listed()
    assert outcomes.count(found.agent) == 1
    refused = (
        f"handover {number} is with {found.agent} since 09:30 UTC; only they can take it, or you "
        "take it over from them"
    )
    assert outcomes.count(refused) == 3
    assert told(talk).count(f"notice: {EN.joined}") == 1


def test_a_chat_is_taken_over_only_from_the_one_who_has_it(talk: Conversations) -> None:
    number = handed_over(talk)
    talk.handovers.take(number, "mia")
    with pytest.raises(HandoverConflictError, match="is with mia"):
        talk.handovers.take(number, "ben", instead_of="eva")
    assert talk.handovers.take(number, "ben", instead_of="mia").agent == "ben"
    with pytest.raises(HandoverConflictError, match="only they can answer it"):
        talk.handovers.reply(number, "mia", "hello")


def test_what_an_agent_may_not_do_is_told(talk: Conversations) -> None:
    number = handed_over(talk)
    with pytest.raises(HandoverConflictError) as waiting:
        talk.handovers.reply(number, "mia", "hello")
    assert str(waiting.value) == (
        f"handover {number} waits for somebody: take it before you answer it"
    )
    talk.handovers.take(number, "mia")
    talk.handovers.close(number, "mia")
    assert talk.handovers.close(number, "mia").state == "closed"  # once more is no mistake
    with pytest.raises(HandoverConflictError) as ended:
        talk.handovers.take(number, "ben")
    assert str(ended.value) == (
        f"handover {number} was closed by mia at 09:30 UTC: the bot answers"
    )
    with pytest.raises(HandoverNotFoundError, match="handover 99: there is none of that number"):
        talk.handovers.take(99, "mia")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (" \n\x00", "the answer is empty: write what the customer is to read"),
        ("x" * 10_001, "the answer has 10001 characters; at most 10000 are sent"),
        ("Parcel {order_id} is late.", "the answer still has {order_id} in it: write the "
         "customer's own value there"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_to_send_is_refused(
    talk: Conversations, text: str, complaint: str
) -> None:
    number = handed_over(talk)
    talk.handovers.take(number, "mia")
    with pytest.raises(DataError) as error:
        talk.handovers.reply(number, "mia", text)
    assert str(error.value) == complaint
    assert told(talk)[-1] == f"notice: {EN.joined}"


def test_a_chat_that_nobody_takes_goes_back_with_a_word(talk: Conversations, clock: Clock) -> None:
    handed_over(talk)
    clock.pass_(29.9)
    assert talk.handle("ana", "hello?").text == EN.in_charge
    clock.pass_(0.2)
    assert talk.handle("ana", "hours").text == "We open at nine."
    assert told(talk)[-2:] == [f"notice: {EN.nobody_free}", "bot: We open at nine."]
    (ended,) = talk.handovers.listed(["returned"])
    assert (ended.ended_by, ended.agent) == (None, None)


def test_a_silent_agents_chat_goes_back_after_the_first_unanswered_message(
    talk: Conversations, clock: Clock
) -> None:
    number = handed_over(talk)
    talk.handovers.take(number, "mia")
    clock.pass_(10)
    talk.handovers.reply(number, "mia", "One moment.")
    clock.pass_(10)
    talk.handle("ana", "thanks")  # from now the agent has 15 minutes
    clock.pass_(14)
    talk.handle("ana", "still there?")  # and no more by this
    assert talk.handovers.expire() == 0
    clock.pass_(1)
    assert talk.handovers.expire() == 1
    assert talk.handovers.expire() == 0
    assert told(talk)[-1] == f"notice: {EN.nobody_free}"


def test_a_customer_who_has_left_is_told_that_the_bot_is_back(
    talk: Conversations, clock: Clock
) -> None:
    number = handed_over(talk)
    talk.handovers.take(number, "mia")
    talk.handovers.reply(number, "mia", "Done. Anything else?")
    clock.pass_(15)
    assert told(talk)[-1] == f"notice: {EN.returned}"


def test_outside_opening_hours_the_customer_is_told_when_somebody_comes(
    open_talk: Open, engine: Engine, clock: Clock
) -> None:
    hours = OpeningHours.parse(["mon-fri 10:00-16:00"], zone="Europe/Berlin")
    talk = open_talk(engine, hours)
    clock.now = datetime(2026, 3, 6, 17, 0, tzinfo=UTC)  # Friday evening
    closed = (
        "My colleagues are not here at the moment. They are back on Monday at 10:00 and will see "
        "everything you have written."
    )
    assert talk.handle("ana", "human please").text == closed
    assert talk.handle("ana", "hello?").text == closed
    assert talk.handle("bob", "unknown fee").text == f"I have no answer yet. {closed}"
    assert (
        talk.handovers.said("zh") == "人工客服现在不在线，周一10:00上班后会看到您发送的全部内容。"
    )
    # The half hour of waiting begins when they are back.
    clock.now = datetime(2026, 3, 9, 9, 29, tzinfo=UTC)
    assert talk.handovers.expire() == 0
    clock.pass_(1)
    assert talk.handovers.expire() == 2


def test_a_message_that_comes_twice_is_one_and_is_answered_alike(
    open_talk: Open, each_engine: Engine
) -> None:
    talk = open_talk(each_engine)
    first = talk.handle("ana", "unsure about it", "m1")
    again = open_talk(each_engine).handle("ana", "unsure about it", "m1")
    assert again == replace(first, reply=None)
    number = handed_over(talk)
    talk.handovers.take(number, "mia")
    talk.handovers.reply(number, "mia", "Yes?", client_id="m1")
    silent = talk.handle("ana", "refund me", "m2")
    talk.handovers.reply(number, "mia", "Gladly.", client_id="r2")
    talk.handovers.reply(number, "mia", "Gladly.", client_id="r2")
    assert talk.handle("ana", "refund me", "m2") == silent
    assert [each.text for each in silent.missed] == [EN.joined, "Yes?"]
    assert told(talk)[-2:] == ["agent: Yes?", "agent: Gladly."]
    # Of another sender it is another message.
    assert talk.handle("bob", "hours", "m1").text == "We open at nine."


def test_the_same_message_at_two_workers_at_once_is_one(
    open_talk: Open, each_engine: Engine
) -> None:
    start, turns = Barrier(4), []

    def worker() -> None:
        talk = open_talk(each_engine)
        start.wait()
        turns.append(talk.handle("ana", "hours", "m1").message_id)

    threads = [Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(turns) == 4
    assert len(set(turns)) == 1


def test_customer_agent_and_clock_at_once_lose_no_message(
    open_talk: Open, each_engine: Engine
) -> None:
    """Messages of both sides while chats are taken, given back and begun again."""
    start, errors, sent = Barrier(3), [], []

    def customer() -> None:
        talk = open_talk(each_engine)
        start.wait()
        for n in range(20):
            talk.handle("ana", "human please" if n % 4 == 0 else f"refund {n}", f"m{n}")

    def agent(name: str) -> None:
        handovers = open_talk(each_engine).handovers
        start.wait()
        for n in range(20):
            for chat in handovers.listed():
                try:
                    handovers.take(chat.id, name)
                    sent.append(handovers.reply(chat.id, name, f"{name} {n}").id)
                    handovers.give_back(chat.id, name)
                except HandoverConflictError:
                    pass

    def guarded(run: Callable[..., None], *arguments: str) -> None:
        try:
            run(*arguments)
        except Exception as error:
            errors.append(error)

    threads = [Thread(target=guarded, args=(customer,))]
    threads += [Thread(target=guarded, args=(agent, name)) for name in ("mia", "ben")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    talk = open_talk(each_engine)
    said = talk.said_since("ana", 0)
    assert [each.id for each in said] == sorted(each.id for each in said)
    assert {each.id for each in said if each.role == "agent"} == set(sent)
    events = tracker(talk.engine, "ana")["events"]
    assert sum(event["event"] == "user" for event in events) == 20
    assert len(talk.handovers.listed()) <= 1


def test_suggestions_are_the_best_answers_to_the_last_message(
    talk: Conversations, answer_book: AnswerBook
) -> None:
    number = handed_over(talk)
    talk.handovers.take(number, "mia")
    talk.handle("ana", "refund me at last")
    found, said = talk.handovers.get(number)
    assert suggestions(answer_book, said, found.slots) == (
        Suggestion("refund", "Get a refund", "Refunds take five days.", 0.9, None),
        Suggestion("track", "Track a parcel", "Parcel {order_id} is on its way.", 0.06, "order_id"),
        Suggestion("hours", "Opening hours", "We open at nine.", 0.04, None),
    )
    known = suggestions(answer_book, said, {"order_id": "KB-1"}, most=2)
    assert known[1].text == "Parcel KB-1 is on its way."
    assert suggestions(answer_book, (), {}) == ()


def test_what_the_customer_tells_while_waiting_fills_slots(talk: Conversations) -> None:
    number = handed_over(talk)
    talk.handle("ana", "it is order KB-20418")
    talk.handovers.take(number, "mia")
    talk.handle("ana", "write to ana@shop.example")
    assert talk.handovers.get(number)[0].slots == {
        "order_id": "KB-20418", "email": "ana@shop.example",
    }  # fmt: skip
    talk.handovers.give_back(number, "mia")
    assert talk.handle("ana", "track it").text == "Parcel KB-20418 is on its way."


def test_the_tracker_shows_slots_and_every_message(talk: Conversations) -> None:
    assert tracker(talk.engine, "ana") == {
        "sender_id": "ana", "slots": {}, "paused": False, "latest_event_time": None,
        "latest_message": None, "events": [],
    }  # fmt: skip
    talk.handle("ana", "track order KB-20418")
    number = handed_over(talk)
    talk.handovers.take(number, "mia")
    talk.handle("ana", "refund")
    found = tracker(talk.engine, "ana")
    assert found["slots"] == {"order_id": "KB-20418"}
    assert found["paused"]
    assert [event["event"] for event in found["events"]] == [
        "user", "bot", "user", "bot", "bot", "user",
    ]  # fmt: skip
    assert found["events"][0]["parse_data"]["intent"] == {"name": "track", "confidence": 0.9}
    assert found["latest_message"]["text"] == "refund"
    assert found["latest_message"]["parse_data"]["intent"] == {"name": "refund", "confidence": 0.9}
    assert found["events"][4]["metadata"] == {"from": "notice"}
