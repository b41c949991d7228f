"""`triptych chatbot review collect`: a round of learning from the conversations of a home."""

from collections.abc import Callable
from datetime import datetime

from apps.chatbot.answers import ANSWERS_FILE, AnswerBook
from apps.chatbot.bot_files import read_config
from apps.chatbot.learning.collecting import Collected, collect
from apps.chatbot.opening import opened_database
from pipelines.import_dialogues import kept_encoder
from shared.registry import Registry
from shared.settings import Home


def collect_lessons(
    home: Home,
    model: str,
    *,
    threads: int | None,
    clock: Callable[[], datetime],
    say: Callable[[str], None],
) -> Collected:
    """A round of learning for a model, with the encoder that it was trained on.

    Raises:
        ModelError: no such model or encoder. ServiceError: the database does not answer.
    """
    version = Registry(home.models, clock).resolve(model, app="chatbot")
    encode = kept_encoder(home, read_config(version.path).base, threads, say)
    book = AnswerBook.load(version.path / ANSWERS_FILE)
    return collect(opened_database(home), version.name, book, encode, clock=clock)
