"""Which tool's files an import reads."""

from collections.abc import Callable, Mapping
from pathlib import Path

from apps.chatbot.formats.dialogflow_import import import_dialogflow
from apps.chatbot.formats.qna import import_qna
from apps.chatbot.formats.rasa_import import import_rasa
from apps.chatbot.formats.taken import TakenBot

IMPORTS: Mapping[str, Callable[[Path, Path], TakenBot]] = {
    "rasa": import_rasa,
    "dialogflow": import_dialogflow,
    "qna": import_qna,
}


def import_from(tool: str, source: Path, output: Path) -> TakenBot:
    """Write a bot of `tool` as examples and answers into the folder `output`.

    Raises: DataError when it cannot be read, or the folder cannot be written.
    """
    return IMPORTS[tool](source, output)
