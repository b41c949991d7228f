"""pairs.csv of an import: which question of which dialogue was answered how."""

from pathlib import Path

import pandas as pd

from apps.chatbot.mining.draft_book import DraftIntent
from shared.errors import DataError
from shared.near_duplicates import near_duplicate_key
from shared.tables import Column, read_table

PAIRS_FILE = "pairs.csv"
_SHOWN = ("question", "answer", "file", "dialogue", "question_turns", "answer_turns", "confidence")


def pairs_of(folder: Path, intent: DraftIntent) -> pd.DataFrame:
    """The pairs that a draft's examples come from; empty where the folder keeps none."""
    path = folder / PAIRS_FILE
    if not path.is_file():
        return pd.DataFrame()
    try:
        frame = read_table(path, [Column("question"), Column("label")]).frame
    except DataError:
        return pd.DataFrame()
    asked = {near_duplicate_key(each.text) for each in intent.examples}
    mine = frame["label"].isin(intent.origins) & frame["question"].map(near_duplicate_key).isin(
        asked
    )
    return frame.loc[mine, [name for name in _SHOWN if name in frame.columns]]
