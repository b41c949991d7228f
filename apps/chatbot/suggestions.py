"""What an agent might say: the answers that the bot ranks best for the customer's last message."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apps.chatbot.answers import AnswerBook, say
from apps.chatbot.messages import Message
from shared.text import detect_language


@dataclass(frozen=True)
class Suggestion:
    """text: filled as far as the slots are known; missing: the first slot that the agent must fill
    before it can be sent, None where there is none."""

    label: str
    title: str
    text: str
    probability: float
    missing: str | None


def suggestions(
    book: AnswerBook,
    said: Sequence[Message],
    slots: Mapping[str, str],
    *,
    open_now: bool = True,
    most: int = 3,
) -> tuple[Suggestion, ...]:
    """The best first, in the language of the customer; none where nothing was ranked yet.

    said: the transcript. slots: what is known of the customer. open_now: whether colleagues are
    there, on which an answer may depend.
    """
    asked = next((each for each in reversed(said) if each.role == "customer"), None)
    ranked = next((each.ranking for each in reversed(said) if each.ranking), ())
    if asked is None:
        return ()
    language = detect_language(asked.text)
    found = []
    for label, probability in ranked:
        answer = book.by_label.get(label)
        if answer is None:
            continue
        fitting = answer.fitting(language, slots, open_now=open_now)
        variants = [each.template for each in fitting] or [answer.template(language)]
        rendered = say(variants, slots)
        text = variants[0] if rendered.text is None else rendered.text
        title = answer.title(language)
        found.append(Suggestion(label, title, text, probability, rendered.missing))
    return tuple(found[:most])
