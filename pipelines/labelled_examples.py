"""Tables `text,label` as an application reads them, for jobs that serve more than one of them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from shared.settings import Home
from shared.training.examples import Examples

Say = Callable[[str], None]


def read_labelled(
    app: str, path: Path, mapping: Mapping[str, str], home: Home, say: Say
) -> Examples:
    """app: "chatbot", or "news" with sentiments or topics, whichever the labels are.

    Raises DataError for the table.
    """
    if app == "chatbot":
        from apps.chatbot.questions import read_questions

        return read_questions(path, mapping, home, say).examples()
    from apps.news_monitor.examples import (
        SPELLINGS,
        labelled_rows,
        sentiment_examples,
        topic_examples,
    )

    found = {label.casefold() for _, label in labelled_rows(path, mapping, home, say,
                                                            empty_labels=True)}  # fmt: skip
    if found <= set(SPELLINGS):
        return sentiment_examples([path], mapping=mapping, spellings={}, home=home, say=say)
    return topic_examples([path], mapping=mapping, home=home, say=say)
