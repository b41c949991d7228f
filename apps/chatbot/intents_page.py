"""Every intent with its answer: how well it is known, how much it is used; edits what is said.

Reads a model's files and the database; never imports torch.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from apps.chatbot.agent_page import ask_agent
from apps.chatbot.answers import ANSWERS_FILE, AnswerBook
from apps.chatbot.conditions import ALLOWED
from apps.chatbot.entities.entities import Entities
from apps.chatbot.figure_tables import entities_table, in_words, intents_table
from apps.chatbot.intent_figures import (
    IntentFigures,
    intent_figures,
    must_pass_texts,
    rendered,
    warnings_of,
)
from apps.chatbot.live import LiveFile, own_texts
from apps.chatbot.opening import chatbot_settings, reading
from apps.chatbot.told_page import show_told
from shared.errors import TriptychError
from shared.model_choice_page import chosen_model
from shared.registry import ModelVersion
from shared.settings import default_home

BETWEEN = "---"  # a line between two variants
LANGUAGES = ("en", "zh")
WEAK = 0.8
FILTERS = ("all", "weak", "unused", "without an answer", "edited", "found by its text")


def fits(each: IntentFigures, chosen: str) -> bool:
    """Whether an intent is of the kind that the filter names."""
    if chosen == "weak":
        known = (each.recall.value, each.precision.value)
        return any(value is not None and value < WEAK for value in known)
    return {
        "unused": each.used == 0,
        "without an answer": each.answer is None,
        "edited": each.edited,
        "found by its text": not each.learned,
    }.get(chosen, True)


def variants_in(text: str) -> list[str]:
    """The variants of the editor's text."""
    found: list[list[str]] = [[]]
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.strip() == BETWEEN:
            found.append([])
        else:
            found[-1].append(line)
    return ["\n".join(lines).strip() for lines in found if "\n".join(lines).strip()]


def show_figures(each: IntentFigures, cases: Sequence[tuple[str, str]]) -> None:
    examples, recall, precision, used = st.columns(4)
    examples.metric("Examples", "—" if each.examples is None else f"{each.examples:,}")
    recall.metric("Recall", in_words(each.recall).split(" ")[0] or "—")
    recall.caption(f"{in_words(each.recall) or 'not measured'}, of {each.recall.n} asked")
    precision.metric("Precision", in_words(each.precision).split(" ")[0] or "—")
    precision.caption(f"{in_words(each.precision) or 'not measured'}, of {each.precision.n} said")
    used.metric("Answered in 30 days", f"{each.used:,}")
    if each.confused:
        taken = ", ".join(f"`{c.other}` ({c.count})" for c in each.confused)
        st.caption(f"Held-out questions of it were taken for {taken}.")
    if not each.learned:
        st.caption(
            "No example asks for it: it is found by the text it had when the model was trained."
        )
    if cases:
        with st.expander(f"{len(cases)} must-pass cases"):
            for text, source in cases:
                st.text(f"{text}  ({source})")


def show_rendered(texts: Sequence[str]) -> None:
    """What a customer would read, with nothing and with everything known of them."""
    for number, each in enumerate(rendered(texts), start=1):
        with st.container(border=True):
            when = f" said when {each.when}," if each.when else ""
            st.caption(f"Variant {number} of {len(texts)},{when} as written")
            st.text(each.template)
            if each.bare != each.template:
                bare, filled = st.columns(2)
                bare.caption("With nothing known of the customer")
                bare.text("A slot is asked for first." if each.bare is None else each.bare)
                filled.caption("With every slot known")
                filled.text(each.filled)


def show_answer(
    version: ModelVersion, own: AnswerBook, each: IntentFigures, filled: Sequence[str]
) -> None:
    """The answer in one language, and what can be done with it. filled: slots of entities."""
    present = tuple(each.answer.texts) if each.answer else ()
    languages = tuple(dict.fromkeys((*present, *LANGUAGES)))
    language = st.segmented_control(
        "Language", languages, default=languages[0], key=f"language {each.label}"
    )
    language = language or languages[0]
    texts = tuple(each.answer.texts.get(language, ())) if each.answer else ()
    if texts:
        show_rendered(texts)
    elif present:
        st.caption(f"No answer in this language: customers get the one in {present[0]}.")
    else:
        st.caption("No answer: a person takes over. Write one below.")
    show_editor(version, own, each, language, texts, filled)


def show_editor(
    version: ModelVersion,
    own: AnswerBook,
    each: IntentFigures,
    language: str,
    texts: tuple[str, ...],
    filled: Sequence[str],
) -> None:
    place = f"{each.label} {language} {len(LiveFile.of(version).read().edits)}"
    title = each.answer.titles.get(language, each.title) if each.answer else each.title
    st.subheader("Edit")
    new_title = st.text_input("Title, as a button shows it", title, key=f"title {place}")
    written = st.text_area(
        f"Answer; a line {BETWEEN} between variants, {{order_id}} for a slot, [[a part]] that is "
        "left out where its slot is not known; a variant with a condition begins with the line "
        "when: closed",
        f"\n{BETWEEN}\n".join(texts),
        key=f"text {place}",
        height=180,
        help=f"A condition: {ALLOWED}. A variant whose condition holds is said instead of those "
        "without one.",
    )
    variants = variants_in(written)
    if variants and tuple(variants) != texts:
        try:
            warnings = warnings_of(
                variants, each.label, language, LiveFile.of(version).read().book(own),
                always_open=not chatbot_settings().handover.hours, filled=filled,
            )  # fmt: skip
        except TriptychError as error:
            st.error(str(error))
        else:
            for warning in warnings:
                st.warning(warning)
            st.caption("As customers would read it:")
            show_rendered(variants)

    def save(new: Sequence[str], called: str) -> None:
        try:
            LiveFile.of(version, lambda: datetime.now(UTC)).edit_answer(
                own, each.label, language, texts=new, title=called, seen=texts,
                by=st.session_state.get("agent", "").strip(),
            )  # fmt: skip
        except TriptychError as error:
            st.session_state.told = ("error", str(error))
            return
        st.session_state.told = ("success", "Saved: the running bot says it from now on.")

    trained = own_texts(own, each.label, language)
    keep, back = st.columns(2)
    keep.button(
        "Save", type="primary", width="stretch", on_click=save, args=(variants, new_title),
        disabled=tuple(variants) == texts and new_title == title,
    )  # fmt: skip
    back.button(
        "Back to the answer of training", width="stretch", on_click=save,
        args=(trained, own.title(each.label, language)),
        disabled=not trained or trained == texts,
    )  # fmt: skip
    show_history(version, each.label, language)


def show_history(version: ModelVersion, label: str, language: str) -> None:
    past = LiveFile.of(version).read().history(label, language)
    if not past:
        return
    with st.expander(f"{len(past)} edits"):
        for edit in past:
            st.caption(f"{edit.at:%d %b %Y, %H:%M} UTC")
            st.text(f"{edit.by or 'nobody named'}: {f' {BETWEEN} '.join(edit.texts)}")


def show_entities(entities: Entities) -> None:
    if not entities.names:
        return
    with st.expander(f"Slots filled from lists and marked examples: {len(entities.names)}"):
        st.dataframe(entities_table(entities), hide_index=True)
        st.caption(
            "Marked values teach how others look: those are told where they would seldom have been "
            "wrong on examples that were not seen."
        )


def chosen_intents(found: Sequence[IntentFigures]) -> list[IntentFigures]:
    """Those that the search and the filter leave."""
    left, right = st.columns([2, 3])
    words = left.text_input("Search", placeholder="in names, titles and answers", max_chars=200)
    kind = right.segmented_control("Show", FILTERS, default="all") or "all"
    shown = [each for each in found if each.matches(words) and fits(each, kind)]
    percent = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        intents_table(shown), hide_index=True, height=min(420, 38 * (len(shown) + 1)),
        column_config={"recall": percent, "precision": percent},
    )  # fmt: skip
    st.caption(f"{len(shown)} of {len(found)} intents.")
    return shown


def main() -> None:
    st.title("Intents and answers")
    version = chosen_model("chatbot", without="No chatbot has been trained yet.")
    if version is None:
        return
    ask_agent()
    with st.container():
        show_told()
    try:
        own = AnswerBook.load(version.path / ANSWERS_FILE)
        entities = Entities.load(version.path)
        with reading(default_home(os.environ)) as connection:
            found = intent_figures(version, connection, now=datetime.now(UTC))
            cases = must_pass_texts(version.name, os.environ, connection.engine)
    except TriptychError as error:
        st.error(str(error))
        return
    show_entities(entities)
    shown = {each.label: each for each in chosen_intents(found)}
    if not shown:
        st.info("No intent is like that.")
        return
    label = st.selectbox(
        "Intent", list(shown), format_func=lambda name: f"{shown[name].title} — {name}"
    )
    show_figures(shown[label], cases.get(label, ()))
    show_answer(version, own, shown[label], entities.names)


if __name__ == "__main__":
    main()
