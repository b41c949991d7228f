"""Drafted intents of an import: accept, rename, edit, merge, split or drop them, many at once.

Every change is written back to the folder's examples.csv and answers.yml at once.
"""

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import streamlit as st

from apps.chatbot.mining.draft_book import DraftBook, DraftIntent
from apps.chatbot.mining.draft_folder import OpenDrafts, open_drafts, remembered, save_drafts
from apps.chatbot.mining.import_report import ANSWERS_FILE, DOUBTFUL_CONFIDENCE, EXAMPLES_FILE
from apps.chatbot.mining.pairs_file import pairs_of
from shared.errors import TriptychError
from shared.settings import default_home

SHOWN_PAIRS = 200
VARIANT = "\n---\n"  # between two variants of an answer


def folders() -> dict[str, Path]:
    """Title -> folder of drafts, the newest first."""
    known = remembered(default_home(os.environ).drafts)
    names = [path.name for path in known]
    return {path.name if names.count(path.name) == 1 else str(path): path for path in known}


def change(made: Callable[[DraftBook], DraftBook], done: str) -> None:
    """Write what `made` makes of the drafts on the screen."""
    drafts: OpenDrafts = st.session_state.drafts
    try:
        st.session_state.drafts = save_drafts(drafts, made(drafts.book))
    except TriptychError as error:
        st.session_state.said = ("error", str(error))
        return
    st.session_state.said = ("success", done)


def change_chosen(made: Callable[[DraftBook], DraftBook], done: str) -> None:
    """The same for what is done to all that are chosen; then nothing is chosen any more."""
    change(made, done)
    if st.session_state.said[0] == "success":
        st.session_state.chosen = []


def chosen() -> list[str]:
    labels: list[str] = st.session_state.get("chosen", [])
    return labels


def choose(labels: list[str]) -> None:
    st.session_state.chosen = labels


def choose_rows(labels: list[str]) -> None:
    """What is selected in the table."""
    rows = st.session_state.table["selection"]["rows"]
    st.session_state.chosen = [labels[row] for row in rows if row < len(labels)]


def why_look(intent: DraftIntent) -> str:
    """Why a person should look at a draft before others."""
    reasons = []
    if not intent.answer:
        reasons.append("no answer")
    elif "{our_" in intent.answer.split("[[")[0]:
        reasons.append("needs what only you know")
    if intent.confidence is not None and intent.confidence < DOUBTFUL_CONFIDENCE:
        reasons.append("unsure pairs")
    if len(intent.examples) < 5:
        reasons.append("few examples")
    return ", ".join(reasons)


def show_table(intents: tuple[DraftIntent, ...]) -> None:
    frame = pd.DataFrame(
        {
            "state": [each.state for each in intents],
            "intent": [each.label for each in intents],
            "title": [each.title for each in intents],
            "examples": [len(each.examples) for each in intents],
            "confidence": [each.confidence for each in intents],
            "look first": [why_look(each) for each in intents],
            "answer": [each.answer for each in intents],
        }
    )
    st.dataframe(
        frame, hide_index=True, key="table", selection_mode="multi-row",
        on_select=lambda: choose_rows([each.label for each in intents]),
        column_config={
            "confidence": st.column_config.NumberColumn(format="%.2f"),
            "title": st.column_config.TextColumn(width="medium"),
            "answer": st.column_config.TextColumn(width="large"),
        },
    )  # fmt: skip


def show_bulk(intents: tuple[DraftIntent, ...]) -> None:
    """What is done to many at once."""
    labels = [each.label for each in intents]
    st.session_state.chosen = [label for label in chosen() if label in labels]
    st.multiselect("Chosen intents (or tick rows of the table)", labels, key="chosen")
    several = chosen()
    states = {each.label: each.state for each in intents}
    every, still, look, _ = st.columns([1, 1, 1, 2])
    every.button("Choose all", on_click=choose, args=(labels,))
    still.button(
        "Choose open ones", on_click=choose,
        args=([label for label in labels if states[label] == "open"],),
    )  # fmt: skip
    look.button(
        "Choose sure ones", on_click=choose,
        args=([e.label for e in intents if e.state == "open" and not why_look(e)],),
    )  # fmt: skip
    accept, reopen, drop, rest = st.columns([1, 1, 1, 2])
    accept.button(
        f"Accept {len(several)}", type="primary", disabled=not several, on_click=change_chosen,
        args=(lambda book: book.with_state(several, "accepted"), f"{len(several)} accepted."),
    )  # fmt: skip
    reopen.button(
        f"Open {len(several)} again", disabled=not several, on_click=change_chosen,
        args=(lambda book: book.with_state(several, "open"), f"{len(several)} open again."),
    )  # fmt: skip
    drop.button(
        f"Drop {len(several)}", disabled=not several, on_click=change_chosen,
        args=(lambda book: book.with_state(several, "dropped"), f"{len(several)} dropped."),
    )  # fmt: skip
    rest.button(
        "Drop all that are not accepted", on_click=change_chosen,
        disabled=not {"open", "accepted"} <= set(states.values()),
        args=(DraftBook.without_open, "Only what is accepted is left."),
    )  # fmt: skip
    if len(several) > 1:
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        into = left.selectbox("Merge them into", several, key="into")
        right.button(
            f"Merge {len(several)}", on_click=change_chosen,
            args=(lambda book: book.merged(several, into), f"{len(several)} merged into {into}."),
        )  # fmt: skip


def show_intent(drafts: OpenDrafts) -> None:
    """One draft with everything that can be edited of it."""
    labels = [each.label for each in drafts.book.used]
    first = chosen()[0] if chosen() else labels[0]
    label = st.selectbox("Intent to edit", labels, index=labels.index(first))
    intent = drafts.book.intent(label)
    with st.form(f"edit-{label}"):
        name = st.text_input("Label", intent.label)
        titles, texts = {}, {}
        for language in intent.texts or ("en",):
            titles[language] = st.text_input(
                f"Title for customers ({language})", intent.titles.get(language, "")
            )
            texts[language] = st.text_area(
                f"Answer ({language}); a line --- between variants, slots {{order_id}}, optional "
                "parts [[like this]], a first line when: closed for a condition",
                VARIANT.join(intent.texts.get(language, ())), height=140,
            )  # fmt: skip
        examples = st.text_area(
            f"Examples, one a line ({len(intent.examples)})",
            "\n".join(each.text for each in intent.examples), height=220,
        )  # fmt: skip
        if st.form_submit_button("Save"):
            change(
                lambda book: book.edited(
                    label, titles=titles, examples=examples.split("\n"),
                    texts={code: text.split(VARIANT.strip("\n")) for code, text in texts.items()},
                ).renamed(label, name),
                f"{name} saved.",
            )  # fmt: skip
            st.rerun()
    with st.expander("Split: some of its examples become an intent of their own"):
        moved = st.multiselect("Examples that go", [each.text for each in intent.examples])
        new = st.text_input("Label of the new intent")
        st.button(
            f"Split off {len(moved)}", disabled=not (moved and new.strip()), on_click=change,
            args=(lambda book: book.split(label, moved, new), f"{new} split off; edit its answer."),
        )  # fmt: skip
    show_origin(drafts.folder, intent)


def show_origin(folder: Path, intent: DraftIntent) -> None:
    """The pairs that the draft was made of."""
    pairs = pairs_of(folder, intent)
    if pairs.empty:
        return
    with st.expander(f"Where it comes from: {len(pairs)} questions and the answers to them"):
        st.dataframe(pairs.head(SHOWN_PAIRS), hide_index=True)


def show_dropped(book: DraftBook) -> None:
    if not book.dropped:
        return
    with st.expander(f"Dropped ({len(book.dropped)}): kept, and not trained on"):
        numbers = st.multiselect(
            "Bring back", range(len(book.dropped)),
            format_func=lambda at: f"{book.dropped[at].label}: {book.dropped[at].title}",
        )  # fmt: skip
        st.button(
            f"Bring back {len(numbers)}", disabled=not numbers, on_click=change,
            args=(lambda each: each.brought_back(numbers), f"{len(numbers)} brought back."),
        )  # fmt: skip


def main() -> None:
    st.title("Drafts")
    known = folders()
    if not known:
        st.info(
            "Nothing has been imported yet. Run `triptych chatbot import --dialogues FILE "
            "--output DIR`."
        )
        return
    folder = known[st.sidebar.selectbox("Import", list(known))]
    st.sidebar.button("Load again", on_click=lambda: st.session_state.pop("drafts", None))
    drafts = st.session_state.get("drafts")
    try:
        if drafts is None or drafts.folder != folder:
            drafts = st.session_state.drafts = open_drafts(folder)
            st.session_state.chosen = []
    except TriptychError as error:
        st.error(str(error))
        return
    if (said := st.session_state.pop("said", None)) is not None:
        (st.error if said[0] == "error" else st.success)(said[1])
    intents = drafts.book.used
    accepted = sum(each.state == "accepted" for each in intents)
    st.write(
        f"{len(intents)} intents with {sum(len(each.examples) for each in intents):,} examples; "
        f"{accepted} accepted, {len(intents) - accepted} open. Changes are written at once to "
        f"`{folder}`."
    )
    show_table(intents)
    show_bulk(intents)
    st.divider()
    show_intent(drafts)
    show_dropped(drafts.book)
    paths = [str(folder / name) for name in (EXAMPLES_FILE, ANSWERS_FILE)]
    files = ["--examples", paths[0], "--answers", paths[1]]
    st.code(
        shlex.join(["triptych", "data", "doctor", "chatbot", *files]) + "\n"
        + shlex.join(["triptych", "train", "chatbot", *files]) + " --name NAME",
        language="bash",
    )  # fmt: skip


if __name__ == "__main__":
    main()
