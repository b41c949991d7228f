"""The chat, as a customer sees it, with the reason for each answer beside it."""

import os
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import altair as alt
import pandas as pd
import streamlit as st

from apps.chatbot.bot import Reply
from apps.chatbot.conversation import Conversations
from apps.chatbot.explaining import Why, explain_message, taught_like
from apps.chatbot.feedback import Thumb, rate
from apps.chatbot.messages import FROM_PEOPLE, Message
from apps.chatbot.service import open_conversations
from apps.chatbot.taught import TAUGHT
from apps.chatbot.turns import Turn
from shared.errors import TriptychError
from shared.evaluation.highlight import marked_html
from shared.inference.precedents import Precedent
from shared.model_choice_page import chosen_model
from shared.settings import default_home

DECISIONS = {
    "answer": ":green-badge[answered]",
    "clarify": ":orange-badge[asked back]",
    "reject": ":red-badge[refused]",
    "handover": ":blue-badge[handed over]",
    "silent": ":gray-badge[a person is in charge: the bot is silent]",
}
# How often a chat with a person looks for what that one has said.
WATCH_SECONDS = 3
History = list[tuple[str, Turn | Message | None]]


@st.cache_resource(show_spinner="Loading the model …")
def conversations_of(reference: str) -> Conversations:
    return open_conversations(
        reference, home=default_home(os.environ), clock=lambda: datetime.now(UTC)
    )


def show_reason(turn: Turn) -> None:
    """The rule that decided, the five likeliest intents, what each scorer thought."""
    reply = turn.reply
    if reply is None:
        st.caption(f"{turn.why[:1].upper()}{turn.why[1:]}.")
        return
    st.caption(
        f"{reply.why[:1].upper()}{reply.why[1:]}. Intent `{reply.intent}`, calibrated probability "
        f"{reply.probability:.0%}, out-of-scope score {reply.oos_score:.2f}."
    )
    ranking = pd.DataFrame(reply.ranking[:5], columns=["intent", "probability"])
    bars = (
        alt.Chart(ranking)
        .mark_bar()
        .encode(
            x=alt.X("probability", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")),
            y=alt.Y("intent", sort=None, title=None, axis=alt.Axis(labelLimit=260)),
            tooltip=["intent", alt.Tooltip("probability", format=".1%")],
        )
        .properties(height=190)
    )
    st.altair_chart(bars, width="stretch")
    parts = ", ".join(f"{name} {p:.0%}" for name, p in reply.scorers.items())
    st.caption(f"Each scorer's own probability of this intent: {parts}.")
    if reply.entities:
        st.caption("Found in the message:")
        st.text("\n".join(each.in_words(reply.text) for each in reply.entities))


@st.cache_data(show_spinner="Looking for the reason …", max_entries=500)
def why_of(reference: str, text: str, intent: str) -> Why:
    return explain_message(conversations_of(reference).bot, text, intent)


def show_words(reference: str, reply: Reply) -> None:
    """The message with the words that made its intent, and the training questions most like it."""
    bot = conversations_of(reference).bot
    if TAUGHT in reply.scorers:
        show_questions(
            "The questions taught since the training that are most like it:",
            taught_like(bot, reply.text),
        )
    if reply.intent not in bot.classifier.labels:
        if TAUGHT not in reply.scorers:
            st.caption("This answer was found by its own text: no example question asks for it.")
        return
    if not reply.text.strip():
        return
    why = why_of(reference, reply.text, reply.intent)
    st.caption(f"What spoke for `{reply.intent}` (green) and against it (red):")
    st.html(marked_html(why.explanation))
    show_questions("The training questions most like it, personal data masked:", why.precedents)


def show_questions(title: str, found: Sequence[Precedent]) -> None:
    if not found:
        return
    st.caption(title)
    st.dataframe(
        pd.DataFrame(
            [(p.text, p.label, p.similarity) for p in found],
            columns=["question", "intent", "similarity"],
        ),
        hide_index=True,
        column_config={"similarity": st.column_config.NumberColumn(format="%.2f")},
    )


def show_history(reference: str, history: History) -> None:
    for number, (text, turn) in enumerate(history):
        avatar = ":material/support_agent:" if isinstance(turn, Message) else None
        with st.chat_message("assistant" if turn else "user", avatar=avatar):
            if text:
                st.text(text)
            if isinstance(turn, Turn):
                show_turn(reference, turn, number, last=number == len(history) - 1)
            elif isinstance(turn, Message) and turn.role == "agent":
                st.markdown(":blue-badge[a person]")


def show_turn(reference: str, turn: Turn, number: int, *, last: bool) -> None:
    """What belongs to a message of the bot's: its decision, buttons, reason, and a thumb."""
    st.markdown(DECISIONS[turn.decision])
    for title, payload in turn.buttons:
        if st.button(title, key=f"{number}{payload}", disabled=not last):
            st.session_state.chosen = (title, payload)
            st.rerun()
    if turn.message_id is not None:
        key = f"thumb{turn.message_id}"
        st.feedback("thumbs", key=key, on_change=keep_thumb, args=(reference, turn.message_id, key))
    if turn.decision != "silent":
        with st.expander("Why this?"):
            show_reason(turn)
            if turn.reply is not None:
                show_words(reference, turn.reply)


def keep_thumb(reference: str, message_id: int, key: str) -> None:
    talk = conversations_of(reference)
    value = st.session_state[key]
    if value is not None:
        thumb: Thumb = "up" if value else "down"
        rate(talk.engine, st.session_state.sender, message_id, thumb, clock=talk.clock)


def fetch_people(conversations: Conversations, sender: str, history: History) -> bool:
    """Add what people have said since the last look; whether there was anything."""
    said = conversations.said_since(sender, st.session_state.setdefault("seen", 0))
    if said:
        st.session_state.seen = said[-1].id
    new = [each for each in said if each.role in FROM_PEOPLE]
    history.extend((each.text, each) for each in new)
    return bool(new)


@st.fragment(run_every=WATCH_SECONDS)
def watch(reference: str, sender: str) -> None:
    """While a person may answer: show it when it comes."""
    if fetch_people(conversations_of(reference), sender, st.session_state.history):
        st.rerun()


def main() -> None:
    st.title("Chat")
    model = chosen_model(
        "chatbot",
        without="No chatbot has been trained yet. "
        "Run `triptych demo`, or `triptych train chatbot`.",
    )
    if model is None:
        return
    reference = model.reference
    with st.sidebar:
        if st.button("New conversation"):
            for kept in ("history", "sender", "seen", "handed_over"):
                st.session_state.pop(kept, None)
    try:
        conversations = conversations_of(reference)
    except TriptychError as error:
        st.error(str(error))
        return
    history: History = st.session_state.setdefault("history", [])
    sender = st.session_state.setdefault("sender", f"page-{uuid.uuid4().hex[:12]}")
    if not history:
        st.caption(
            "Write as a customer would: with typos, in English or Chinese, off the topic too."
        )
    typed = st.chat_input("Your message")
    title, payload = st.session_state.pop("chosen", (typed, typed))
    if payload:
        fetch_people(conversations, sender, history)
        history.append((title, None))
        if conversations.teaching is not None:
            conversations.teaching.refresh()
        turn = conversations.handle(sender, payload)
        history.extend((each.text, each) for each in turn.said)
        st.session_state.handed_over = (
            st.session_state.get("handed_over", False) or turn.said[-1].decision == "handover"
        )
    show_history(reference, history)
    if st.session_state.get("handed_over", False):
        watch(reference, sender)


if __name__ == "__main__":
    main()
