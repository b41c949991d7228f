"""What a training run may be told, and what it hands back. Nothing heavy is imported here."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from shared.device import Device
from shared.errors import SettingsError

ClassWeights = Literal["none", "sqrt", "balanced"]
Metric = Literal["macro_f1", "accuracy"]
Keep = Literal["best", "last"]
Tracking = Literal["none", "tensorboard", "mlflow", "wandb"]


class Method(StrEnum):
    """How much of the encoder learns; `auto` decides by the smallest class and the minutes.

    A new method is a name here and a row in `methods.METHODS`.
    """

    AUTO = "auto"
    FROZEN = "frozen"
    FULL = "full"
    LORA = "lora"
    ADALORA = "adalora"
    IA3 = "ia3"
    PROMPT = "prompt"


class PretrainingObjective(StrEnum):
    """What is learned from texts without labels; both: words first, then sentences."""

    MLM = "mlm"
    CONTRASTIVE = "contrastive"
    BOTH = "both"


class StudentKind(StrEnum):
    """How an encoder is made smaller: fewer layers, a table of token vectors, or static int8."""

    LAYERS = "layers"
    TABLE = "table"
    STATIC_INT8 = "static-int8"


STUDENT_LAYERS = 3
ALLOWED_DROP = 0.02  # of accuracy, with a student in the place of its teacher


@dataclass(frozen=True)
class TrainOptions:
    """One training run. None means: as the method's row in `methods.METHODS` says.

    minutes: wall-clock budget of fine-tuning, above 0; the learning rate's schedule is fitted into
    it. call_minutes: of the whole call that makes a model, of which fine-tuning gets what the rest
    leaves (budget.py). began: what the clock of that call said when it did, in seconds; None: now.
    epochs: passes over the training part at most. learning_rate: of the top layer of the
    encoder; head_learning_rate: of the new heads. layer_decay: each lower layer learns at this
    share of the one above, 0 < d <= 1. warmup: share of all steps, 0..1. warm_start: new heads
    begin as a linear probe of the pretrained vectors and not at random. label_smoothing: share of
    the target spread over the other labels, 0 <= s < 1. dropout: before the new heads, 0 <= d < 1;
    the encoder keeps its own. class_weights: rows of rare labels count
    more: by n / (labels * count), its square root, or not. metric: what early stopping watches,
    the mean over the heads. contrastive: weight of the supervised contrastive loss beside that of
    the heads, in batches of rows paired by label; keep: the weights of the best evaluation, or of
    the last one, and then all epochs are run; None of either: as method_choice.settled says.
    patience: evaluations without a gain before the run stops.
    max_length: word pieces a text is cut to. freeze_embeddings: the token table does not learn
    (1.2 times as fast at the same accuracy). freeze_layers: so many of the lowest layers, and the
    embeddings with them, do not learn; a classifier's texts go through them without dropout, and
    once, if what comes out fits into layer_cache_mb MiB of memory in half precision (0 keeps
    nothing), else in every step. adapter_rank, adapter_alpha: of LoRA and its kin.
    bf16: autocast; None means where the machine has it in hardware. logdir: TensorBoard logs.
    journal: where what happens is written down, line by line (shared/run_journal.py). tracking:
    where the curves go besides, into a run that tracking.tracked has opened.
    checkpoints: where a run that is cut off leaves its state, and from where the same call goes
    on; None means beside the result's folder, and only until that is written. checkpoint_minutes:
    how much work may be lost at most between two epochs. progress: a bar; None means on a
    terminal only.

    Raises SettingsError when a value is outside its range.
    """

    method: str = Method.AUTO.value
    base: str = "minilm"
    minutes: float | None = None
    call_minutes: float | None = None
    began: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    head_learning_rate: float | None = None
    layer_decay: float = 0.9
    warmup: float = 0.1
    weight_decay: float = 0.01
    warm_start: bool = True
    label_smoothing: float = 0.05
    dropout: float = 0.1
    class_weights: ClassWeights = "none"
    metric: Metric = "macro_f1"
    contrastive: float | None = None
    keep: Keep | None = None
    patience: int = 3
    max_length: int | None = None
    freeze_embeddings: bool = True
    freeze_layers: int = 0
    layer_cache_mb: float = 1024.0
    adapter_rank: int = 16
    adapter_alpha: int = 32
    seed: int = 13
    threads: int | None = None
    bf16: bool | None = None
    device: Device = "auto"
    logdir: Path | None = None
    journal: Path | None = None
    tracking: Tracking = "none"
    checkpoints: Path | None = None
    checkpoint_minutes: float = 3.0
    resume: bool = True
    progress: bool | None = None

    def __post_init__(self) -> None:
        _one_of("method", self.method, [m.value for m in Method])
        _one_of("class_weights", self.class_weights, ["none", "sqrt", "balanced"])
        _one_of("metric", self.metric, ["macro_f1", "accuracy"])
        _one_of("device", self.device, ["auto", "cpu", "cuda", "mps"])
        for name in ("minutes", "call_minutes", "learning_rate", "head_learning_rate"):
            _above_zero(name, getattr(self, name))
        for name in ("epochs", "batch_size", "max_length", "threads", "patience", "adapter_rank"):
            _at_least_one(name, getattr(self, name))
        _within("layer_decay", self.layer_decay, 0 < self.layer_decay <= 1, "above 0, at most 1")
        _within("warmup", self.warmup, 0 <= self.warmup < 1, "0 or more, below 1")
        _within(
            "label_smoothing",
            self.label_smoothing,
            0 <= self.label_smoothing < 1,
            "0 or more, below 1",
        )
        _within("dropout", self.dropout, 0 <= self.dropout < 1, "0 or more, below 1")
        if self.keep is not None:
            _one_of("keep", self.keep, ["best", "last"])
        if self.contrastive is not None:
            _within("contrastive", self.contrastive, self.contrastive >= 0, "0 or more")
        for name in ("freeze_layers", "layer_cache_mb"):
            _within(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        _within("weight_decay", self.weight_decay, self.weight_decay >= 0, "0 or more")
        _within(
            "checkpoint_minutes", self.checkpoint_minutes, self.checkpoint_minutes >= 0, "0 or more"
        )


@dataclass(frozen=True)
class Evaluation:
    """The model after so many steps. loss: mean of the training steps since the last evaluation.

    metrics: of the validation part, by name, 0..1 except losses. seconds: since the run began,
    those of an interrupted first attempt included.
    """

    step: int
    epoch: float
    loss: float | None
    metrics: dict[str, float]


@dataclass(frozen=True)
class FineTuned:
    """A finished run. folder: what was trained, ready to load.

    best_metric: of the validation part, at best_step, whose weights are the ones saved; name in
    `metric`. seconds: wall clock, an interrupted attempt's included. forecast_minutes,
    forecast_memory_mb: what was said before the start, None where the run was too short to ask;
    peak_memory_mb: MiB the process held at most by its end. stopped_because: one phrase.
    """

    folder: Path
    method: str
    reason: str
    metric: str
    best_metric: float
    best_step: int
    steps: int
    seconds: float
    stopped_because: str
    trained_parameters: int
    parameters: int
    history: tuple[Evaluation, ...]
    forecast_minutes: float | None = None
    forecast_memory_mb: float | None = None
    peak_memory_mb: float | None = None
    resumed_at_step: int | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def trained_share(self) -> float:
        """Trained parameters as a share of all, 0..1."""
        return self.trained_parameters / self.parameters

    def to_json(self) -> str:
        """Everything but the folder, which is where the text is written."""
        values = asdict(self)
        del values["folder"]
        return json.dumps(values, indent=2, ensure_ascii=False)


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise SettingsError(f"{name} = {value!r}: expected one of {', '.join(allowed)}")


def _above_zero(name: str, value: float | None) -> None:
    if value is not None and not value > 0:
        raise SettingsError(f"{name} = {value}: expected more than 0")


def _at_least_one(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise SettingsError(f"{name} = {value}: expected 1 or more")


def _within(name: str, value: float, allowed: bool, expected: str) -> None:
    if not allowed:
        raise SettingsError(f"{name} = {value}: expected {expected}")
