"""The options of a question back: as buttons, and as customers choose them."""

import re
from typing import TYPE_CHECKING

from apps.chatbot.phrases import phrases_for

if TYPE_CHECKING:
    from apps.chatbot.bot import Option

# Payload of a button, as Rasa's clients send it back: /label, or /none.
NONE_OF_THESE = "none_of_these"
# Why an answer was given that followed from the state alone.
CHOSEN = "the customer has chosen this intent"
# Why a chat is handed over though the question is understood.
NO_ANSWER = "the intent is understood, and the bot has no answer to it"
# Why a slot is asked for again, and in the end by a person.
NO_VALUE = "the reply to the question for a slot is no value of its list"


def buttons_of(options: "tuple[Option, ...]") -> tuple[tuple[str, str], ...]:
    """(title, payload) of each."""
    return tuple((option.title, f"/{option.label}") for option in options)


def chosen_of(text: str, offered: tuple[tuple[str, str], ...], language: str) -> str | None:
    """The offered label that the message names: by button, by number, by title."""
    said = text.strip()
    for label, title in offered:
        if said == f"/{label}" or said.casefold() == title.casefold():
            return label
    if re.fullmatch(r"[1-9]\d?[.)]?", said) and int(said.rstrip(".)")) <= len(offered):
        return offered[int(said.rstrip(".)")) - 1][0]
    if said.casefold() == phrases_for(language).none_of_these.casefold():
        return NONE_OF_THESE
    return None
