"""The chat, as a customer sees it, with the reason for each answer beside it."""

import os
import uuid
from datetime import UTC, datetime

import altair as alt
import pandas as pd
import streamlit as st

from apps.chatbot.bot import Reply
from apps.chatbot.conversation import Conversations, Turn
from apps.chatbot.explaining import Why, explain_message
from apps.chatbot.service import open_conversations
from shared.errors import TriptychError
from shared.evaluation.highlight import marked_html
from shared.model_choice_page import chosen_model
from shared.settings import default_home

DECISIONS = {
    "answer": ":green-badge[answered]",
    "clarify": ":orange-badge[asked back]",
    "reject": ":red-badge[refused]",
    "handover": ":blue-badge[handed over]",
}


@st.cache_resource(show_spinner="Loading the model …")
def conversations_of(reference: str) -> Conversations:
    return open_conversations(
        reference, home=default_home(os.environ), clock=lambda: datetime.now(UTC)
    )


def show_reason(turn: Turn) -> None:
    """The rule that decided, the five likeliest intents, what each scorer thought."""
    reply = turn.reply
    if reply is None:
        st.caption("Followed from what you chose.")
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


@st.cache_data(show_spinner="Looking for the reason …", max_entries=500)
def why_of(reference: str, text: str, intent: str) -> Why:
    return explain_message(conversations_of(reference).bot, text, intent)


def show_words(reference: str, reply: Reply) -> None:
    """The message with the words that made its intent, and the training questions most like it."""
    if reply.intent not in conversations_of(reference).bot.classifier.labels:
        st.caption("This answer was found by its own text: no example question asks for it.")
        return
    if not reply.text.strip():
        return
    why = why_of(reference, reply.text, reply.intent)
    st.caption(f"What spoke for `{reply.intent}` (green) and against it (red):")
    st.html(marked_html(why.explanation))
    if not why.precedents:
        return
    st.caption("The training questions most like it, personal data masked:")
    st.dataframe(
        pd.DataFrame(
            [(p.text, p.label, p.similarity) for p in why.precedents],
            columns=["question", "intent", "similarity"],
        ),
        hide_index=True,
        column_config={"similarity": st.column_config.NumberColumn(format="%.2f")},
    )


def show_history(reference: str, history: list[tuple[str, Turn | None]]) -> None:
    for number, (text, turn) in enumerate(history):
        with st.chat_message("assistant" if turn else "user"):
            st.text(text)
            if turn is None:
                continue
            st.markdown(DECISIONS[turn.decision])
            last = number == len(history) - 1
            for title, payload in turn.buttons:
                if st.button(title, key=f"{number}{payload}", disabled=not last):
                    st.session_state.chosen = (title, payload)
                    st.rerun()
            with st.expander("Why this?"):
                show_reason(turn)
                if turn.reply is not None:
                    show_words(reference, turn.reply)


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
            st.session_state.pop("history", None)
            st.session_state.pop("sender", None)
    try:
        conversations = conversations_of(reference)
    except TriptychError as error:
        st.error(str(error))
        return
    history = st.session_state.setdefault("history", [])
    sender = st.session_state.setdefault("sender", f"page-{uuid.uuid4().hex[:12]}")
    if not history:
        st.caption(
            "Write as a customer would: with typos, in English or Chinese, off the topic too."
        )
    typed = st.chat_input("Your message")
    title, payload = st.session_state.pop("chosen", (typed, typed))
    if payload:
        history.append((title, None))
        turn = conversations.handle(sender, payload)
        history.append((turn.text, turn))
    show_history(reference, history)


if __name__ == "__main__":
    main()
