"""Examples and answers as plain tables, which spreadsheets and `triptych train` read."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from apps.chatbot.answers import AnswerBook
from apps.chatbot.conditions import variant_of
from apps.chatbot.formats.exported import Exported
from apps.chatbot.formats.kept import Kept
from shared.tables import write_table

EXAMPLES_FILE = "examples.csv"
ANSWERS_FILE = "answers.csv"


def export_csv(
    texts: Sequence[str],
    labels: Sequence[str],
    book: AnswerBook,
    output: Path,
    kept: Kept = Kept(),
) -> Exported:
    """Write examples.csv (`text,label[,entities]`) and answers.csv
    (`answer,label,title,language[,when]`) into the folder `output`.

    Raises: DataError when they cannot be written.
    """
    examples: dict[str, Sequence[str]] = {"text": texts, "label": labels}
    if any(kept.entities):
        examples["entities"] = kept.entities
    write_table(pd.DataFrame(examples), output / EXAMPLES_FILE)
    rows = [
        (variant.template, answer.label, answer.titles.get(language, ""), language, variant.when)
        for answer in book.answers
        for language, several in answer.texts.items()
        for variant in map(variant_of, several)
    ]
    if rows:
        frame = pd.DataFrame(rows, columns=["answer", "label", "title", "language", "when"])
        if not frame["when"].any():
            frame = frame.drop(columns="when")
        write_table(frame, output / ANSWERS_FILE)
    return Exported(
        "tables", len(texts), len(set(labels)), len(book.answers), str(output),
        () if rows else ("no answers, so no answers.csv",),
    )  # fmt: skip
