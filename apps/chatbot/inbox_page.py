"""The inbox: chats that wait for a person, and one of them with what helps to answer it."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from apps.chatbot.agent_page import ask_agent
from apps.chatbot.answers import AnswerBook
from apps.chatbot.handover import ENDED, OPEN, Handover, Handovers
from apps.chatbot.learning.lesson_files import accepted
from apps.chatbot.live import answers_of
from apps.chatbot.messages import Message
from apps.chatbot.opening import open_handovers
from apps.chatbot.suggestions import Suggestion, suggestions
from apps.chatbot.taught import with_answers
from apps.chatbot.told_page import show_told
from shared.errors import TriptychError
from shared.model_choice_page import page_registry
from shared.settings import default_home

REFRESH_SECONDS = 4
AVATARS = {
    "customer": None,
    "bot": None,
    "agent": ":material/support_agent:",
    "notice": ":material/info:",
}
NAMES = {"customer": "user", "bot": "assistant"}
BADGES = {
    "waiting": ":orange-badge[waiting]",
    "taken": ":blue-badge[taken]",
    "returned": ":gray-badge[returned to the bot]",
    "closed": ":green-badge[closed]",
}


@st.cache_resource
def the_handovers(home: str) -> Handovers:
    del home  # another home is another inbox
    return open_handovers(default_home(os.environ), lambda: datetime.now(UTC))


@st.cache_data(show_spinner=False, ttl=60)
def book_of(home: str, reference: str) -> AnswerBook:
    """The answers of the model that handed a chat over, with what was taught since; none where it
    is gone."""
    for version in page_registry().versions_of("chatbot"):
        if version.reference == reference:
            taught = accepted(the_handovers(home).engine, version.name).answers
            return with_answers(answers_of(version), taught)
    return AnswerBook()


def home_name() -> str:
    return str(default_home(os.environ).root)


def act(done: str, action: Callable[[], object]) -> bool:
    """Do what a button says; what was refused is told on the page."""
    try:
        action()
    except TriptychError as error:
        st.session_state.told = ("error", str(error))
        return False
    st.session_state.told = ("success", done)
    return True


def doing(done: str, action: Callable[[], object]) -> Callable[[], None]:
    """`act`, for a button."""

    def pressed() -> None:
        act(done, action)

    return pressed


def waited(since: datetime) -> str:
    minutes = int((datetime.now(UTC) - since).total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 1440 else f"{minutes // 1440} days"


@st.fragment(run_every=REFRESH_SECONDS)
def show_queue(agent: str) -> None:
    """Every chat in the queue with a button that opens it."""
    handovers = the_handovers(home_name())
    shown = st.segmented_control("Chats", ["open", "ended"], default="open", key="shown")
    found = handovers.listed(ENDED if shown == "ended" else OPEN, limit=100)
    if shown != "ended":
        found = tuple(sorted(found, key=lambda each: (each.agent != agent, each.id)))
        waiting = sum(each.state == "waiting" for each in found)
        hours = "open" if handovers.open_now else "outside opening hours"
        st.caption(f"{waiting} waiting, {len(found) - waiting} taken; {hours}.")
    if not found:
        st.info("No chat has ended yet." if shown == "ended" else "Nobody is waiting.")
    for each in found:
        with st.container(border=True):
            mine = " by you" if each.agent == agent and each.state == "taken" else ""
            st.markdown(f"{BADGES[each.state]}{mine} {waited(each.queued_at)} ago")
            st.text(each.question[:200] or "(an empty message)")
            chosen = st.session_state.get("chosen_chat") == each.id
            if st.button(
                "Shown at the right" if chosen else f"Open chat {each.id}",
                key=f"open{each.id}", disabled=chosen, width="stretch",
            ):  # fmt: skip
                st.session_state.chosen_chat = each.id
                st.rerun()


def show_reason(handover: Handover) -> None:
    """Why the bot passed it on, and what it knows."""
    st.subheader(f"Chat {handover.id}")
    with_whom = f" by {handover.agent}" if handover.agent and handover.state == "taken" else ""
    st.markdown(f"{BADGES[handover.state]}{with_whom}")
    st.text(f"{handover.sender}: {handover.reason[:1].upper()}{handover.reason[1:]}.")
    if handover.ended_at is None:
        st.caption(
            f"Goes back to the bot at {handover.deadline:%Y-%m-%d %H:%M} UTC unless somebody acts."
        )
    with st.expander("What the bot knows: its best five intents, and slots"):
        for label, probability in handover.ranking:
            st.progress(min(probability, 1.0), text=f"`{label}` {probability:.0%}")
        if not handover.ranking:
            st.caption("The bot has ranked no message of this chat.")
        for slot, value in handover.slots.items():
            st.text(f"{slot}: {value}")
        st.caption(f"Model {handover.model}.")


@st.fragment(run_every=REFRESH_SECONDS)
def show_transcript(number: int, newest: int) -> None:
    """All that was said; a message after number `newest`, or a new state, redraws the page."""
    handover, said = the_handovers(home_name()).get(number)
    with st.container(height=420):
        for each in said:
            with st.chat_message(NAMES.get(each.role, each.role), avatar=AVATARS[each.role]):
                st.text(each.text or "(an empty message)")
                st.caption(line_under(each))
    if said[-1].id != newest or handover.state != st.session_state.get("shown_state"):
        st.session_state.shown_state = handover.state
        st.rerun()


def line_under(said: Message) -> str:
    """When, by whom, and of the bot's messages what decided."""
    parts = [f"{said.at:%H:%M} UTC"]
    if said.agent:
        parts.append(said.agent.replace("`", ""))
    if said.decision:
        parts.append(said.decision)
    if said.intent:
        probability = "" if said.probability is None else f" {said.probability:.0%}"
        parts.append(f"`{said.intent}`{probability}")
    return " · ".join(parts)


def show_suggestions(number: int, found: Sequence[Suggestion]) -> None:
    """Answers that go into the box at a click."""
    if not found:
        st.caption("The bot has no answer to suggest.")
        return
    st.caption("What the bot would suggest for the customer's last message:")
    for each in found:
        words, button = st.columns([5, 1])
        missing = f" — fill in {{{each.missing}}}" if each.missing else ""
        words.markdown(f"**{each.probability:.0%}** `{each.label}`{missing}")
        words.text(each.text)

        def use(text: str = each.text) -> None:
            st.session_state[f"answer{number}"] = text

        button.button("Use", key=f"use{number}{each.label}", on_click=use)


def show_answering(handover: Handover, said: Sequence[Message], agent: str) -> None:
    """What an agent can do with the chat now."""
    handovers, number = the_handovers(home_name()), handover.id
    if handover.state in ENDED:
        by = f"by {handover.ended_by}" if handover.ended_by else "when its time ran out"
        st.info(f"The chat was {handover.state} {by}. The bot answers now.")
        return
    if handover.state == "taken" and handover.agent != agent:
        st.info(f"{handover.agent} answers here.")
        other = handover.agent
        st.button(
            f"Take over from {other}",
            on_click=doing(
                "The chat is yours.", lambda: handovers.take(number, agent, instead_of=other)
            ),
        )
        return
    if handover.state == "waiting":
        st.button(
            "Take this chat", type="primary",
            on_click=doing("The chat is yours.", lambda: handovers.take(number, agent)),
        )  # fmt: skip
        return
    book = book_of(home_name(), handover.model)
    found = suggestions(book, said, handover.slots, open_now=handovers.open_now)
    show_suggestions(number, found)
    key = f"answer{number}"
    st.text_area("Your answer", key=key, max_chars=10_000, height=110)

    def send() -> None:
        if act("Sent.", lambda: handovers.reply(number, agent, st.session_state[key])):
            st.session_state[key] = ""

    first, second, third = st.columns(3)
    first.button("Send", type="primary", on_click=send, width="stretch")
    second.button(
        "Return to the bot", width="stretch",
        on_click=doing("The bot answers again.", lambda: handovers.give_back(number, agent)),
    )  # fmt: skip
    third.button(
        "Close the chat", width="stretch",
        on_click=doing("Closed.", lambda: handovers.close(number, agent)),
    )  # fmt: skip


def show_undelivered(handovers: Handovers) -> None:
    """What the webhook could not be told; nothing where all went."""
    dead = handovers.deliveries.listed("dead")
    if not dead:
        return
    with st.expander(f"{len(dead)} messages to the webhook were given up"):
        rows = [(d.id, d.event, d.sender, d.attempts, d.created_at, d.last_error) for d in dead]
        names = ["id", "event", "sender", "tries", "since", "last answer"]
        st.dataframe(pd.DataFrame(rows, columns=names), hide_index=True)

        def again() -> None:
            for each in dead:
                handovers.deliveries.retry(each.id)

        st.button("Try all again", on_click=doing("They are tried again.", again))


def main() -> None:
    st.title("Inbox")
    agent = ask_agent()
    try:
        handovers = the_handovers(home_name())
    except TriptychError as error:
        st.error(str(error))
        return
    with st.container():  # there with and without a message, so that nothing below moves
        show_told()
    if not agent:
        st.info("Write your name at the left: chats are taken and answered under it.")
        return
    queue, chat = st.columns([1, 2])
    with queue:
        show_queue(agent)
    with chat:
        show_chat(handovers, agent)
    show_undelivered(handovers)


def show_chat(handovers: Handovers, agent: str) -> None:
    number = st.session_state.get("chosen_chat")
    if number is None:
        st.caption("Open a chat from the queue.")
        return
    handover, said = handovers.get(number)
    st.session_state.shown_state = handover.state
    show_reason(handover)
    show_transcript(number, said[-1].id)
    show_answering(handover, said, agent)


if __name__ == "__main__":
    main()
