"""What was accepted reaches a running bot: every worker looks for it by itself, so that it is live
everywhere within seconds, and again after a restart."""

import threading

from sqlalchemy import Engine

from apps.chatbot.bot import Bot
from apps.chatbot.learning.lesson_files import accepted, revision_of
from apps.chatbot.taught import KnownGrams
from apps.chatbot.taught_fitting import known_grams, taught


class LiveTeaching:
    """Keeps one bot at what the database holds. Safe to call from several threads; messages are
    answered meanwhile, by what was known before."""

    def __init__(self, bot: Bot, engine: Engine, name: str) -> None:
        """name: of the model, without its version."""
        self._bot = bot
        self._engine = engine
        self._name = name
        self._revision = 0
        self._counted: KnownGrams | None = None
        self._lock = threading.Lock()

    def refresh(self) -> bool:
        """Whether there was something new, which the bot now knows.

        Raises: ServiceError: the database does not answer; the bot is as it was.
        """
        if revision_of(self._engine, self._name) == self._revision:
            return False
        with self._lock:
            found = accepted(self._engine, self._name)
            if found.revision == self._revision:
                return False
            empty = not found.lessons and not found.answers
            if self._counted is None and not empty:
                self._counted = known_grams(self._bot)
            self._bot.teach(
                None if empty else taught(self._bot, found.lessons, found.answers, self._counted)
            )
            self._revision = found.revision
        return True
