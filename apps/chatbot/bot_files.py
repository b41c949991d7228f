"""bot.json, and where the parts of a bot lie in its model folder."""

import json
from dataclasses import dataclass
from pathlib import Path

from apps.chatbot.decision import Policy
from shared.errors import ModelError

BOT_FILE = "bot.json"
CLASSIFIER_FOLDER = "classifier"


@dataclass(frozen=True)
class BotConfig:
    """bot.json: which encoders and which rules a model was trained with.

    base_fingerprint, finetuned_fingerprint: of the vectors it knows; None: no fine-tuned encoder.
    """

    base: str
    base_sha256: str
    base_fingerprint: str
    finetuned_fingerprint: str | None
    alpha: float
    oos_threshold: float
    max_options: int
    handover_labels: tuple[str, ...]

    @property
    def policy(self) -> Policy:
        return Policy(self.oos_threshold, self.max_options, self.handover_labels)


def read_config(folder: Path) -> BotConfig:
    """Raises ModelError when bot.json is missing or has other fields."""
    path = folder / BOT_FILE
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields["handover_labels"] = tuple(fields["handover_labels"])
        return BotConfig(**fields)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: not a readable chatbot model, or one of an earlier version ({error}); "
            "train again"
        ) from error
