"""Stand-ins for an encoder and for a bot, where meaning is not the point; databases."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine

from apps.chatbot.answers import Answer, AnswerBook, render
from apps.chatbot.bot import Bot, Option, Reply, Spoken
from apps.chatbot.entities.entities import Entities
from apps.chatbot.mining.answer_choice import Encode
from apps.chatbot.phrases import phrases_for
from apps.chatbot.tables import MIGRATIONS, VERSION_TABLE
from shared.storage import create_engine, upgrade

BOOK = AnswerBook(
    (
        Answer("hours", {"en": "Opening hours"}, {"en": ("We open at nine.",)}),
        Answer("track", {"en": "Track a parcel"}, {"en": ("Parcel {order_id} is on its way.",)}),
        Answer("refund", {"en": "Get a refund"}, {"en": ("Refunds take five days.",)}),
    )
)
EN = phrases_for("en")
LESS_LIKELY = (("track", 0.06), ("hours", 0.04))
INTENT_OF = {"unknown": "fees", "doubtful": "refund"}
OPTIONS = {"unsure": ("track", "refund"), "doubtful": ("refund", "hours")}
NAMED = ("refund", "fees")


@pytest.fixture(scope="session")
def words_encode() -> Encode:
    """Hashed words and, of Chinese, characters; unit length."""

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        out = np.zeros((len(texts), 512), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace("?", " ").replace(".", " ").split() or [""]:
                for piece in [word] if word.isascii() else word:
                    out[row, zlib.crc32(piece.encode()) % 512] += 1
        unit: NDArray[np.float32] = out / np.linalg.norm(out, axis=1, keepdims=True)
        return unit

    return encode


class ScriptedBot:
    """Understands a message by its first word, and says answers by the real templates; the intents
    of further words are among the likeliest too."""

    entities = Entities()

    def reply(self, texts: Sequence[str], slots: Mapping[str, str] | None = None) -> list[Reply]:
        return [self._one(text, slots or {}) for text in texts]

    def say(self, label: str, language: str, slots: Mapping[str, str]) -> Spoken:
        rendered = render(BOOK.by_label[label].template(language), slots)
        if rendered.missing:
            return Spoken(f"Please tell me your {rendered.missing}.", rendered.missing)
        return Spoken(rendered.text or "", None)

    def _one(self, text: str, slots: Mapping[str, str]) -> Reply:
        word, *more = [each.lower().strip("?.!,") for each in text.split()] or [""]
        named = {INTENT_OF.get(each, each): 0.03 for each in (word, *more)}
        known = (*LESS_LIKELY, *((label, p) for label, p in named.items() if label in NAMED))
        common: Any = {
            "text": text,
            "probability": 0.9,
            "oos_score": 0.0,
            "answer": "",
            "ranking": ((word, 0.9), *(each for each in known if each[0] != word)),
            "language": "en",
            "why": "script",
            "scorers": {},
            "entities": self.entities.find(text),
        }
        if word in OPTIONS:
            options = tuple(Option(label, BOOK.title(label, "en")) for label in OPTIONS[word])
            return Reply(
                intent=options[0].label, decision="clarify", options=options, message=EN.clarify,
                missing_slot=None, **common,
            )  # fmt: skip
        if word in BOOK.by_label:
            spoken = self.say(word, "en", slots)
            return Reply(
                intent=word, decision="answer", options=(), message=spoken.text,
                missing_slot=spoken.missing_slot, **common,
            )  # fmt: skip
        if word == "human":
            return Reply(
                intent="person", decision="handover", options=(), message=EN.handover,
                missing_slot=None, **{**common, "why": "the customer asks for a person"},
            )  # fmt: skip
        if word == "unknown":
            return Reply(
                intent="fees", decision="answer", options=(), message="I have no answer yet.",
                missing_slot=None, passed_on=True, **common,
            )  # fmt: skip
        return Reply(
            intent="hours", decision="reject", options=(), message=EN.reject, missing_slot=None,
            **common,
        )  # fmt: skip


@pytest.fixture
def scripted_bot() -> Bot:
    return cast(Bot, ScriptedBot())


@pytest.fixture
def answer_book() -> AnswerBook:
    """What the scripted bot says."""
    return BOOK


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """The chatbot's tables, empty, in SQLite."""
    made = create_engine(f"sqlite:///{tmp_path / 'chat.db'}")
    upgrade(made, MIGRATIONS, VERSION_TABLE)
    yield made
    made.dispose()


@pytest.fixture
def each_engine(each_database: str) -> Iterator[Engine]:
    """The same in a database of each kind."""
    made = create_engine(each_database)
    upgrade(made, MIGRATIONS, VERSION_TABLE)
    yield made
    made.dispose()
