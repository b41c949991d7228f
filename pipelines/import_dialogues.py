"""`triptych chatbot import` and `export`: a bot of dialogues, a bot as another tool's files."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from apps.chatbot.answers import AnswerBook, read_answers
from apps.chatbot.bot_files import CLASSIFIER_FOLDER, read_config
from apps.chatbot.entities.given import annotations, kept_in
from apps.chatbot.formats.csv_export import export_csv
from apps.chatbot.formats.dialogflow_export import export_dialogflow
from apps.chatbot.formats.exported import Exported
from apps.chatbot.formats.kept import Kept, read_kept
from apps.chatbot.formats.qna import export_qna
from apps.chatbot.formats.rasa_export import export_rasa
from apps.chatbot.live import answers_of
from apps.chatbot.mining.answer_choice import Encode
from apps.chatbot.mining.dialogue_formats import DialogueFormat, Reading
from apps.chatbot.mining.dialogue_import import Imported, import_dialogues, kept_vectors
from apps.chatbot.mining.dialogue_tables import Columns
from apps.chatbot.mining.dialogues import Speakers
from apps.chatbot.questions import joined, read_questions
from shared.errors import DataError
from shared.inference.classifier import FusedClassifier
from shared.inference.model_encoders import open_base_encoder, open_model_encoders
from shared.inference.precedents import Precedents
from shared.inference.vector_cache import CachedEmbedder
from shared.pretrained import resolve
from shared.registry import Registry
from shared.settings import Home, wanted_device

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
    reading = Reading(
        DialogueFormat(format_name), Columns(columns), Speakers.named(customers, agents)
    )
    return import_dialogues(
        dialogues, output, reading, kept_encoder(home, base, threads, say),
        min_questions=min_questions, say=say,
    )  # fmt: skip


def kept_encoder(home: Home, base: str, threads: int | None, say: Callable[[str], None]) -> Encode:
    """Unit vectors of texts, kept in the home's cache.

    Raises ModelError: no such encoder.
    """
    opened = open_base_encoder(
        resolve(base, cache=home.cache), cache=home.cache, threads=threads,
        device=wanted_device(None, os.environ),
    )  # fmt: skip
    return kept_vectors(CachedEmbedder(opened, home.cache / VECTORS_FILE).encode, say)


def export_bot(
    output: Path,
    home: Home,
    *,
    format_name: str,
    model: str | None,
    examples: Path | None,
    answers: Path | None,
    entities: Path | None,
    clock: Callable[[], datetime],
    say: Callable[[str], None],
) -> Exported:
    """Write a released model's questions and answers, or those of tables, as another tool's files.

    format_name: rasa, dialogflow, qna or csv. entities: an entities file; of a model, instead of
    the one it was trained with.
    Raises:
        DataError: the tables, or the model keeps no questions. ModelError: no such model.
    """
    kept = Kept() if entities is None else read_kept(entities)
    if examples is not None:
        asked = read_questions(examples, {}, home, say)
        book = joined(asked.answers, read_answers(answers, {}) if answers else AnswerBook())
        texts, labels = asked.texts, asked.labels
        kept = replace(kept, entities=annotations(asked))
    else:
        version = Registry(home.models, clock).resolve(model or "", app="chatbot")
        precedents = _precedents(version.path, home)
        if precedents is None:
            raise DataError(
                f"{version.name}@{version.version}: the model keeps none of its questions; give "
                "them with --examples and --answers"
            )
        book = answers_of(version)
        texts, labels = precedents.texts, precedents.labels
        own = kept_in(version.path, texts)
        kept = own if entities is None else replace(kept, entities=own.entities)
    if format_name == "qna":
        return export_qna(texts, labels, book, output)
    export = {"rasa": export_rasa, "dialogflow": export_dialogflow, "csv": export_csv}[format_name]
    return export(texts, labels, book, output, kept)


def _precedents(folder: Path, home: Home) -> Precedents | None:
    device = wanted_device(None, os.environ)
    encoders = open_model_encoders(folder, read_config(folder), cache=home.cache, device=device)
    classifier = FusedClassifier.load(
        folder / CLASSIFIER_FOLDER, embedder=encoders.base, finetuned=encoders.finetuned
    )
    return Precedents.load(folder, classifier)
