"""How much of the encoder learns: each method's recipe, its adapter, and the choice among them.

A new method is a name in `options.Method` and a row in METHODS; everything else reads the table.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from peft import LoraConfig, PeftConfig, get_peft_model
from torch import nn

from shared.errors import ModelError
from shared.modeling.encoder import Encoder
from shared.training.options import Method, TrainOptions

_HEADS = re.compile(r"(^|\.)heads\.")
_LAYER = re.compile(r"\.layers?\.(\d+)\.")


@dataclass(frozen=True)
class Architecture:
    """Names inside a transformer. attention: what LoRA is put beside by default."""

    attention: tuple[str, ...]


ARCHITECTURES: Mapping[str, Architecture] = {
    "bert": Architecture(("query", "value")),
    "roberta": Architecture(("query", "value")),
    "xlm-roberta": Architecture(("query", "value")),
    "camembert": Architecture(("query", "value")),
    "electra": Architecture(("query", "value")),
    "mpnet": Architecture(("q", "v")),
    "distilbert": Architecture(("q_lin", "v_lin")),
}


@dataclass(frozen=True)
class MethodRecipe:
    """What a method does unless the options say otherwise.

    learning_rate: of the encoder's top layer or of the adapter. head_learning_rate: of new heads.
    adapter: the PEFT configuration for an architecture, None where the encoder's own weights
    learn, or nothing of it does. cached: the encoder never changes, so that its vectors are
    computed once and the heads learn from those.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    head_learning_rate: float
    adapter: Callable[[Architecture, TrainOptions], PeftConfig] | None = None
    cached: bool = False


def _lora(architecture: Architecture, options: TrainOptions) -> PeftConfig:
    return LoraConfig(
        r=options.adapter_rank,
        lora_alpha=options.adapter_alpha,
        lora_dropout=0.05,
        target_modules=list(architecture.attention),
    )


METHODS: Mapping[Method, MethodRecipe] = {
    Method.FROZEN: MethodRecipe(60, 64, 1e-2, 1e-2, cached=True),
    Method.FULL: MethodRecipe(6, 32, 1e-4, 1e-3),
    Method.LORA: MethodRecipe(8, 32, 1e-3, 2e-3, adapter=_lora),
}

# Pairs pull at the whole space and not at one label: shorter and gentler.
PAIR_METHODS: Mapping[Method, MethodRecipe] = {
    Method.FULL: replace(METHODS[Method.FULL], epochs=3, batch_size=64, learning_rate=5e-5),
    Method.LORA: replace(METHODS[Method.LORA], epochs=3, batch_size=64, learning_rate=5e-4),
}


@dataclass(frozen=True)
class Choice:
    """The method of a run and, in one phrase, why."""

    method: Method
    reason: str


@dataclass(frozen=True)
class Rule:
    """Holds for data whose smallest label has at most `rows` rows, or a budget up to `minutes`.

    None: does not ask. The first rule that holds decides.
    """

    method: Method
    reason: str
    rows: int | None = None
    minutes: float | None = None

    def holds(self, smallest_label: int, minutes: float | None) -> bool:
        if self.rows is not None and smallest_label > self.rows:
            return False
        return self.minutes is None or (minutes is not None and minutes <= self.minutes)


RULES: tuple[Rule, ...] = (
    Rule(Method.FROZEN, "the budget is too short to fine-tune in", minutes=0.5),
    Rule(Method.FROZEN, "the smallest label has too few rows to fine-tune on", rows=4),
    Rule(Method.FULL, "every label has rows enough"),
)


def choose_method(
    asked: str, *, smallest_label: int, minutes: float | None, rules: tuple[Rule, ...] = RULES
) -> Choice:
    """The method asked for, or for `auto` the first rule that holds.

    smallest_label: training rows of the rarest label. The last rule must hold for anything.
    """
    if asked != Method.AUTO:
        return Choice(Method(asked), "asked for")
    rule = next(rule for rule in rules if rule.holds(smallest_label, minutes))
    budget = "no time limit" if minutes is None else f"a budget of {minutes:g} minutes"
    return Choice(rule.method, f"{rule.reason} (smallest label: {smallest_label} rows, {budget})")


def apply_method(encoder: Encoder, method: Method, options: TrainOptions) -> None:
    """Decide in place which of the encoder's weights learn, adding the method's adapter.

    Raises ModelError where an adapter does not know the encoder's architecture.
    """
    encoder.model = prepared(encoder.model, method, options)


def prepared(transformer: nn.Module, method: Method, options: TrainOptions) -> nn.Module:
    """The transformer with the method's adapter around it, and the rest of it frozen."""
    recipe = METHODS[method]
    if recipe.adapter is not None:
        with warnings.catch_warnings():
            # peft 0.21 still asks transformers 5.23 by a name that is on its way out.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            return get_peft_model(
                transformer, recipe.adapter(architecture_of(transformer), options)
            )
    for name, parameter in transformer.named_parameters():
        learns = not recipe.cached
        if options.freeze_embeddings and name.startswith("embeddings."):
            learns = False
        parameter.requires_grad_(learns)
    return transformer


def architecture_of(transformer: nn.Module) -> Architecture:
    """Raises ModelError for a family that is not in ARCHITECTURES."""
    kind = str(transformer.config.model_type)
    if kind not in ARCHITECTURES:
        raise ModelError(
            f"encoder of the family {kind!r}: adapters are known for "
            f"{', '.join(ARCHITECTURES)}; use the method full or frozen"
        )
    return ARCHITECTURES[kind]


def merge_adapter(encoder: Encoder) -> None:
    """Work what the adapter learned into the encoder's own weights; the adapter is gone."""
    merge = getattr(encoder.model, "merge_and_unload", None)
    if merge is not None:
        encoder.model = merge()


def parameter_groups(
    model: nn.Module, recipe: MethodRecipe, options: TrainOptions
) -> list[dict[str, Any]]:
    """What the optimiser is told of each learned parameter: its learning rate and its decay.

    Heads and adapters learn at their own rate; the encoder's top layer at `learning_rate`, each
    layer below at `layer_decay` of the one above, the embeddings like one more layer. Biases and
    normalisations are not decayed. Source of the decay by layer: Howard & Ruder 2018, ULMFiT.
    """
    rate = options.learning_rate or recipe.learning_rate
    head_rate = options.head_learning_rate or recipe.head_learning_rate
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    depths = {name: _depth(name) for name in learned}
    top = max((depth for depth in depths.values() if depth is not None), default=0)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in learned.items():
        depth = depths[name]
        if _HEADS.search(name):
            own = head_rate
        elif recipe.adapter is not None or depth is None:
            own = rate
        else:
            own = rate * options.layer_decay ** (top - depth)
        decay = 0.0 if parameter.ndim < 2 else options.weight_decay
        groups.setdefault((own, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": own, "weight_decay": decay}
        for (own, decay), parameters in groups.items()
    ]


def _depth(name: str) -> int | None:
    """Layer of a parameter, the lowest 1; 0 for the embeddings; None for what has no place."""
    found = _LAYER.search(name)
    if found:
        return int(found.group(1)) + 1
    return 0 if "embeddings." in name else None
