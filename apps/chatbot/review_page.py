"""The review: questions that the bot could not answer, or whose answer people have confirmed or
corrected, in proposals to accept, correct or reject, many at once."""

import os
from collections.abc import Callable
from datetime import UTC, datetime

import pandas as pd
import streamlit as st
from sqlalchemy import Engine

from apps.chatbot.agent_page import ask_agent
from apps.chatbot.learning.lesson_files import revision_of
from apps.chatbot.learning.review import (
    Decision,
    Proposal,
    accept,
    decided,
    proposed,
    reject,
    reopen,
)
from apps.chatbot.opening import opened_database
from apps.chatbot.told_page import show_told
from shared.errors import DataError, TriptychError
from shared.model_choice_page import page_registry
from shared.settings import default_home

SHOWN_LESSONS = 500  # of one proposal
KINDS = {
    "handed_over": "a person answered it",
    "refused": "refused",
    "none_of_these": "none of the offered",
    "thumbs_down": "thumb down",
    "thumbs_up": "thumb up",
    "clicked": "chosen by click",
    "rephrased": "asked again, then answered",
    "edited": "suggestion, edited by an agent",
    "confirmed": "suggestion, sent by an agent",
    "typed": "typed in",
}


@st.cache_resource
def the_database(home: str) -> Engine:
    del home  # another home is another database
    return opened_database(default_home(os.environ))


def now() -> datetime:
    return datetime.now(UTC)


def decide(action: Callable[[], Decision], done: str, by: str) -> None:
    """Do what a button says, and draw the page anew with what came of it. by: nobody without a
    name decides; what was typed stays."""
    try:
        if not by:
            raise DataError("Write your name at the left first: decisions are kept under it.")
        found = action()
    except TriptychError as error:
        st.session_state.told = ("error", str(error))
    else:
        count = found.lessons + found.typed
        questions = "question" if count == 1 else "questions"
        st.session_state.told = ("success", f"{count} {questions} {done}")
    st.rerun()


def table_of(found: tuple[Proposal, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "intent": [each.name for each in found],
            "": ["new" if each.new else "known" for each in found],
            "questions": [len(each.lessons) for each in found],
            "of the handovers": [each.share for each in found],
            "worth": [each.worth for each in found],
            "what people answered": [each.answer for each in found],
        }
    )


def show_proposals(found: tuple[Proposal, ...]) -> tuple[Proposal, ...]:
    """The table; returned are the proposals chosen in it, or the one of the box below."""
    event = st.dataframe(
        table_of(found), hide_index=True, key="proposals", on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "of the handovers": st.column_config.NumberColumn(format="percent"),
            "worth": st.column_config.NumberColumn(
                format="%.1f", help="How many questions, times how unsure the bot is of them."
            ),
            "what people answered": st.column_config.TextColumn(width="large"),
        },
    )  # fmt: skip
    rows = event["selection"]["rows"]
    names = [each.name for each in found]
    if rows:
        return tuple(found[row] for row in rows if row < len(found))
    name = st.selectbox("Proposal", names, key="proposal")
    return tuple(each for each in found if each.name == name)


def show_questions(chosen: tuple[Proposal, ...]) -> tuple[list[int], dict[int, str], int]:
    """The chosen proposals' questions, all of them ticked at first; returned are the numbers of the
    ticked ones, those that were put in other words, and how many there are."""
    lessons = [lesson for each in chosen for lesson in each.lessons][:SHOWN_LESSONS]
    names = ["take", "question", "what happened", "answered", "by", "bot's guess", "sure"]
    rows = [
        (
            True, each.question, KINDS.get(each.kind, each.kind), each.answer, each.agent or "",
            each.intent or "", each.probability,
        )
        for each in lessons
    ]  # fmt: skip
    edited = st.data_editor(
        pd.DataFrame(rows, columns=names), hide_index=True, disabled=names[2:],
        key=f"questions-{'-'.join(str(each.id) for each in lessons[:20])}",
        column_config={
            "question": st.column_config.TextColumn(width="large"),
            "sure": st.column_config.NumberColumn(format="percent"),
        },
    )  # fmt: skip
    numbers = [each.id for each, take in zip(lessons, edited["take"], strict=True) if take]
    texts = edited["question"].fillna("").astype(str)
    better = {
        each.id: text for each, text in zip(lessons, texts, strict=True) if text != each.question
    }
    return numbers, better, len(lessons)


def show_deciding(engine: Engine, bot: str, chosen: tuple[Proposal, ...], by: str) -> None:
    """What becomes of the chosen questions."""
    numbers, better, all_of_them = show_questions(chosen)
    first = chosen[0]
    key = f"{first.name}-{first.lessons[0].id}"
    left, right = st.columns(2)
    label = left.text_input(
        "Intent: a new name, or one the bot has", value=first.name, key=f"label-{key}"
    )
    title = right.text_input("Title on a button", value=first.title, key=f"title-{key}")
    answer = st.text_area(
        "Answer from now on, a template; empty leaves what the bot says to this intent",
        value=first.answer, key=f"answer-{key}",
    )  # fmt: skip
    typed = st.text_area("Further examples, one a line", key=f"typed-{key}", height=90)
    firm = [lesson for each in chosen for lesson in each.lessons if lesson.must_pass]
    choices: dict[str, bool | None] = {
        f"as proposed: {len(firm)} of them": None, "all of them": True, "none": False,
    }  # fmt: skip
    wanted = st.selectbox(
        "What a later version must get right before it goes live", list(choices),
        key=f"must-{key}",
        help="Proposed where people have said what is right and the bot was not sure.",
    )  # fmt: skip
    take, leave = st.columns(2)
    if take.button(
        f"Accept {len(numbers)} of {all_of_them}", key="accept", type="primary", width="stretch"
    ):
        decide(
            lambda: accept(
                engine, bot, numbers, label=label, answer=answer, title=title,
                typed=typed.split("\n"), edited=better, must_pass=choices[wanted], by=by, clock=now,
            ),
            f"taken as examples of {label.strip()}; the bot knows them within seconds.", by,
        )  # fmt: skip
    if leave.button(f"Reject {len(numbers)}", key="reject", width="stretch"):
        decide(lambda: reject(engine, bot, numbers, by=by, clock=now), "rejected.", by)


def show_decided(engine: Engine, bot: str, by: str) -> None:
    """What was decided, to be taken back."""
    found = decided(engine, bot)
    if not found:
        return
    with st.expander(f"Decided: the last {len(found)}"):
        frame = pd.DataFrame(list(found))[
            ["state", "label", "question", "decided_by", "decided_at", "id"]
        ]
        event = st.dataframe(
            frame, hide_index=True, key="decided", on_select="rerun", selection_mode="multi-row"
        )
        rows = event["selection"]["rows"]
        numbers = [int(found[row]["id"]) for row in rows if row < len(found)]
        if st.button(f"Take {len(numbers)} back", disabled=not numbers):
            decide(lambda: reopen(engine, bot, numbers), "to be decided again.", by)


def main() -> None:
    st.title("Review")
    try:
        names = sorted({version.name for version in page_registry().versions_of("chatbot")})
    except TriptychError as error:
        st.error(str(error))
        return
    if not names:
        st.info(
            "No chatbot has been trained yet. Run `triptych demo`, or `triptych train chatbot`."
        )
        return
    bot = st.sidebar.selectbox(
        "Model", names, index=names.index("chatbot") if "chatbot" in names else 0
    )
    by = ask_agent()
    try:
        engine = the_database(str(default_home(os.environ).root))
        found = proposed(engine, bot)
        revision = revision_of(engine, bot)
    except TriptychError as error:
        st.error(str(error))
        return
    with st.container():
        show_told()
    if not found:
        st.info(
            f"No question waits for a decision. `triptych chatbot review collect --model {bot}` "
            "reads what has happened since the last time."
        )
    else:
        waiting = sum(len(each.lessons) for each in found)
        st.caption(
            f"{waiting} questions in {len(found)} proposals, what is worth most first. Tick rows "
            "to decide on several proposals together."
            + ("" if by else " Nothing is changed before you write your name at the left.")
        )
        show_deciding(engine, bot, show_proposals(found), by)
    show_decided(engine, bot, by)
    if revision:
        st.caption("For the next training, and for the gate before it goes live:")
        st.code(f"triptych chatbot review export --model {bot} --output lessons", language="bash")


if __name__ == "__main__":
    main()
