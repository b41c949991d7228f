"""What a bot made of each held-out question, so that its decisions at any risk can be counted.

held_out_rankings.json  in a model folder: for each held-out row the true intent, the likeliest ones
                        with their probabilities, and what else decides; no text. Made before the
                        version learned from these rows, if it ever did.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.chatbot.decision import Decided, Policy, decide
from apps.chatbot.phrases import wants_person
from shared.errors import ModelError
from shared.inference.classifier import Prediction
from shared.inference.conformal import conformal_quantile
from shared.text import normalise

if TYPE_CHECKING:
    from apps.chatbot.bot import Bot
    from shared.training.examples import Examples

FILE = "held_out_rankings.json"
FORMAT = 1
NOT_KEPT = (
    "was trained before held-out rankings were kept, so that nothing can be counted at another "
    "risk; train it again"
)


@dataclass(frozen=True)
class HeldRow:
    """One question. ranking: the likeliest intents, best first, one more than may be offered.
    wants_person, scoped: as `decide` takes them."""

    truth: str
    ranking: tuple[tuple[str, float], ...]
    oos_score: float
    wants_person: bool
    scoped: bool

    @property
    def taken_for(self) -> str:
        return self.ranking[0][0]


@dataclass(frozen=True)
class HeldRows:
    """rows: the held-out questions. nonconformity: sorted scores of the calibration rows, which are
    others. risk: the alpha of training. examples: intent -> rows that taught it."""

    rows: tuple[HeldRow, ...]
    nonconformity: tuple[float, ...]
    policy: Policy
    risk: float
    examples: Mapping[str, int]

    @classmethod
    def of(cls, bot: "Bot", held: "Examples") -> "HeldRows":
        """Of a bot that has not learned from these rows. Its examples come when it has been taught
        (`taught`)."""
        options = bot.config.max_options
        rows = tuple(
            HeldRow(
                truth,
                tuple((label, _short(p)) for label, p in reply.ranking[: options + 1]),
                _short(reply.oos_score),
                wants_person(normalise(reply.text)),
                bot.refuses_far(reply.intent, reply.probability),
            )
            for reply, truth in zip(bot.reply(held.texts), held.single, strict=True)
        )
        scores = tuple(map(_short, np.sort(bot.nonconformity)))
        return cls(rows, scores, bot.config.policy, bot.config.alpha, {})

    def taught(self, labels: Sequence[str]) -> "HeldRows":
        """The same with the intents of the rows that taught."""
        return HeldRows(
            self.rows, self.nonconformity, self.policy, self.risk, dict(Counter(labels))
        )

    @cached_property
    def least_risk(self) -> float:
        """Below it the calibration rows are too few to promise anything: all intents remain."""
        return 1 / (len(self.nonconformity) + 1)

    def decided(self, risk: float) -> tuple[Decided, ...]:
        """What would be done with each row, by the rule that serves."""
        quantile = conformal_quantile(np.array(self.nonconformity, np.float32), risk)
        return tuple(
            decide(
                _prediction(row, quantile), self.policy,
                wants_person=row.wants_person, scoped=row.scoped,
            )
            for row in self.rows
        )  # fmt: skip

    def save(self, folder: Path) -> None:
        labels = sorted({label for row in self.rows for label, _ in row.ranking})
        place = {label: at for at, label in enumerate(labels)}
        stored = {
            "format": FORMAT,
            "risk": self.risk,
            "policy": asdict(self.policy),
            "examples": dict(self.examples),
            "nonconformity": self.nonconformity,
            "labels": labels,
            "rows": [
                [row.truth, row.oos_score, int(row.wants_person), int(row.scoped),
                 [[place[label], p] for label, p in row.ranking]]
                for row in self.rows
            ],
        }  # fmt: skip
        text = json.dumps(stored, ensure_ascii=False, separators=(",", ":"))
        (folder / FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "HeldRows | None":
        """None for a version from before they were kept. Raises ModelError: damaged."""
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if stored["format"] != FORMAT:
                raise ModelError(f"{path}: format {stored['format']!r}, expected {FORMAT}")
            policy = stored["policy"]
            labels = stored["labels"]
            return cls(
                tuple(
                    HeldRow(
                        truth, tuple((labels[at], p) for at, p in ranking), oos, bool(person),
                        bool(scoped),
                    )
                    for truth, oos, person, scoped, ranking in stored["rows"]
                ),
                tuple(stored["nonconformity"]),
                Policy(**policy | {"handover_labels": tuple(policy["handover_labels"])}),
                stored["risk"],
                stored["examples"],
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise ModelError(f"{path}: damaged rankings: {error}") from None


def _prediction(row: HeldRow, quantile: float) -> Prediction:
    label, p = row.ranking[0]
    one = np.float32(1)
    fitting = tuple(name for name, q in row.ranking if one - np.float32(q) <= quantile)
    return Prediction(
        label, p, (label,), row.ranking, fitting, float(np.float32(row.oos_score)), {}
    )


def _short(value: float) -> float:
    """The shortest number that is the same in single precision, in which the bot compares: many of
    its probabilities lie next to a calibration score."""
    return float(str(np.float32(value)))
