"""What a candidate would have done otherwise than production, question by question, from what both
have kept of the held-out rows that they share. Loads no model."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from apps.chatbot.decision import Decided
from apps.chatbot.held_rows import NOT_KEPT, HeldRow, HeldRows
from apps.chatbot.live import LiveFile
from shared.errors import DataError, ModelError
from shared.evaluation.forgetting import FILE as TEXTS
from shared.evaluation.outcomes import load_outcomes
from shared.registry import ModelVersion

TASK = "intent"  # of outcomes_of: its rows are the held-out rows, in their order
WITHHELD = "(holds personal data)"


@dataclass(frozen=True)
class Difference:
    """A question on which the two decide otherwise: the decision with its intents. better: the
    candidate serves what was meant and production does not; False the reverse; None neither."""

    question: str
    meant: str
    production: str
    candidate: str
    better: bool | None


@dataclass(frozen=True)
class Shadow:
    """n: questions that both were judged on. moves: (production's decision, candidate's) -> how
    many; differences: those that are decided otherwise, the worse ones first."""

    n: int
    moves: Mapping[tuple[str, str], int]
    differences: tuple[Difference, ...]


def shadow(candidate: ModelVersion, production: ModelVersion) -> Shadow:
    """Both at the risk that the running bot takes, else each at that of its training.

    Raises: DataError: one of them has kept no rows. ModelError: a damaged file.
    """
    ours, theirs = _decisions(candidate), _decisions(production)
    texts = _texts(candidate.path)
    common = [key for key in theirs if key in ours]
    moves: Counter[tuple[str, str]] = Counter()
    found = []
    for key in common:
        (row, new), (_, old) = ours[key], theirs[key]
        moves[old.decision, new.decision] += 1
        if (old.decision, old.labels) != (new.decision, new.labels):
            gain = _serves(new, row.truth) - _serves(old, row.truth)
            found.append(
                Difference(
                    texts.get(key, WITHHELD), row.truth, _words(old), _words(new),
                    None if gain == 0 else gain > 0,
                )
            )  # fmt: skip
    order = {False: 0, True: 1, None: 2}
    return Shadow(len(common), moves, tuple(sorted(found, key=lambda each: order[each.better])))


def _decisions(version: ModelVersion) -> dict[str, tuple[HeldRow, Decided]]:
    """Key of a row -> what was kept of it and what the version would do."""
    held = HeldRows.load(version.path)
    outcomes = {each.task: each for each in load_outcomes(version.path)}
    if held is None or TASK not in outcomes:
        raise DataError(f"{version.reference} {NOT_KEPT}")
    keys = outcomes[TASK].keys
    if len(keys) != len(held.rows):
        raise ModelError(
            f"{version.path}: {len(held.rows)} held-out rankings for {len(keys)} held-out rows"
        )
    taken = LiveFile.of(version).read().risk
    decided = held.decided(held.risk if taken is None else taken)
    return dict(zip(keys, zip(held.rows, decided, strict=True), strict=True))


def _texts(folder: Path) -> dict[str, str]:
    path = folder / TEXTS
    try:
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged: {error}") from None
    return found


def _serves(decided: Decided, truth: str) -> int:
    return int(truth in decided.labels)


def _words(decided: Decided) -> str:
    return " ".join([decided.decision, ", ".join(decided.labels)]).strip()
