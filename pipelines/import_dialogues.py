"""`triptych chatbot import` and `export`: a bot of dialogues, a bot as another tool's files."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from apps.chatbot.answers import ANSWERS_FILE, AnswerBook, read_answers
from apps.chatbot.bot import CLASSIFIER_FOLDER, read_config
from apps.chatbot.dialogue_formats import DialogueFormat, Reading
from apps.chatbot.dialogue_import import Imported, import_dialogues, kept_vectors
from apps.chatbot.dialogue_tables import Columns
from apps.chatbot.dialogues import Speakers
from apps.chatbot.precedents import Precedents
from apps.chatbot.questions import joined, read_questions
from apps.chatbot.rasa_export import Exported, export_rasa
from shared.errors import DataError
from shared.inference.classifier import FusedClassifier
from shared.inference.model_encoders import open_base_encoder, open_model_encoders
from shared.inference.vector_cache import CachedEmbedder
from shared.pretrained import resolve
from shared.registry import Registry
from shared.settings import Home

VECTORS_FILE = "dialogue-vectors.sqlite"


def import_files(
    dialogues: Sequence[Path],
    output: Path,
    home: Home,
    *,
    format_name: str,
    columns: Mapping[str, str],
    customers: Sequence[str],
    agents: Sequence[str],
    min_questions: int,
    base: str,
    threads: int | None,
    say: Callable[[str], None],
) -> Imported:
    """See dialogue_import.import_dialogues. columns: dialogue, speaker, text, time, status -> the
    file's names. Vectors are kept in the home's cache, under keys that tell nothing of the texts.

    Raises:
        DataError: the files. ModelError: no such encoder.
    """
    embedder = CachedEmbedder(
        open_base_encoder(resolve(base, cache=home.cache), cache=home.cache, threads=threads),
        home.cache / VECTORS_FILE,
    )
    reading = Reading(
        DialogueFormat(format_name), Columns(columns), Speakers.named(customers, agents)
    )
    return import_dialogues(
        dialogues, output, reading, kept_vectors(embedder.encode, say),
        min_questions=min_questions, say=say,
    )  # fmt: skip


def export_rasa_bot(
    output: Path,
    home: Home,
    *,
    model: str | None,
    examples: Path | None,
    answers: Path | None,
    clock: Callable[[], datetime],
    say: Callable[[str], None],
) -> Exported:
    """Write a released model's questions and answers, or those of tables, as Rasa's files.

    Raises:
        DataError: the tables, or the model keeps no questions. ModelError: no such model.
    """
    if examples is not None:
        asked = read_questions(examples, {}, home, say)
        book = joined(asked.answers, read_answers(answers, {}) if answers else AnswerBook())
        return export_rasa(asked.texts, asked.labels, book, output)
    version = Registry(home.models, clock).resolve(model or "", app="chatbot")
    precedents = _precedents(version.path, home)
    if precedents is None:
        raise DataError(
            f"{version.name}@{version.version}: the model keeps none of its questions; give them "
            "with --examples and --answers"
        )
    book = AnswerBook.load(version.path / ANSWERS_FILE)
    return export_rasa(precedents.texts, precedents.labels, book, output)


def _precedents(folder: Path, home: Home) -> Precedents | None:
    encoders = open_model_encoders(folder, read_config(folder), cache=home.cache)
    classifier = FusedClassifier.load(
        folder / CLASSIFIER_FOLDER, embedder=encoders.base, finetuned=encoders.finetuned
    )
    return Precedents.load(folder, classifier)
