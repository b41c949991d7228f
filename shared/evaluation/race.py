"""Two versions ready to be timed: how each serves a row, and rows that both know."""

from dataclasses import dataclass
from pathlib import Path

from shared.evaluation.forgetting import kept_texts
from shared.evaluation.outcomes import Serve, common_rows, load_outcomes


@dataclass(frozen=True, eq=False)
class Race:
    """serve: candidate's and production's way of serving some rows. asked: rows to time them on,
    each once, perhaps none."""

    serve: tuple[Serve, Serve]
    asked: tuple[str, ...]


def texts_of_both(candidate: Path, production: Path) -> tuple[str, ...]:
    """Texts of the held-out rows that both were judged on, where one of the two has kept them.

    Raises ModelError: a damaged file.
    """
    texts = (kept_texts(production) or {}) | (kept_texts(candidate) or {})
    pairs = common_rows(load_outcomes(candidate), load_outcomes(production))
    keys = [key for pair in pairs for key in pair.production.keys]
    return tuple(dict.fromkeys(texts[key] for key in keys if key in texts))
