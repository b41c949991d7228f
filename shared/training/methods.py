"""How much of the encoder learns: each method's recipe and its adapter.

A new method is a name in `options.Method` and a row in METHODS; everything else reads the table.
Which is chosen, and what follows from it, is in method_choice.py, which needs no torch.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import (
    AdaLoraConfig,
    AdaLoraModel,
    IA3Config,
    LoraConfig,
    PeftConfig,
    TrainableTokensConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from shared.errors import ModelError, SettingsError
from shared.modeling.architectures import ARCHITECTURES, Architecture
from shared.modeling.encoder import Encoder
from shared.training.checkpoints import PREFIX
from shared.training.freezing import adapted, check_freezing, layer_of, learns
from shared.training.options import Method, TrainOptions

PROMPT_TOKENS = 16
ALLOCATION = "rank_allocation.safetensors"  # beside the learned weights of a checkpoint
_MEANS = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # PEFT's names: importance now, its mean, its spread
_PATTERN = "rank_pattern"
_HEADS = re.compile(r"(^|\.)heads\.")


@dataclass(frozen=True)
class MethodRecipe:
    """What a method does unless the options say otherwise.

    learning_rate: of the encoder's top layer or of the adapter. head_learning_rate: of new heads.
    adapter: the PEFT configuration for an encoder, which it may prepare first; None where the
    encoder's own weights learn, or nothing of it does. cached: the encoder never changes, so that
    its vectors are computed once and the heads learn from those.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    head_learning_rate: float
    adapter: Callable[[Encoder, TrainOptions], PeftConfig] | None = None
    cached: bool = False


def _lora(encoder: Encoder, options: TrainOptions) -> PeftConfig:
    return LoraConfig(
        r=options.adapter_rank,
        lora_alpha=options.adapter_alpha,
        lora_dropout=0.05,
        target_modules=adapted(encoder.model, architecture_of(encoder).attention, options),
    )


def _adalora(encoder: Encoder, options: TrainOptions) -> PeftConfig:
    """LoRA that begins with half as much rank again and takes it away where it matters least.

    The true number of steps is set when training begins (RankAllocation).
    """
    return AdaLoraConfig(
        init_r=options.adapter_rank + options.adapter_rank // 2,
        target_r=options.adapter_rank,
        lora_alpha=options.adapter_alpha,
        lora_dropout=0.05,
        total_step=1,
        target_modules=adapted(encoder.model, architecture_of(encoder).attention, options),
    )


def _ia3(encoder: Encoder, options: TrainOptions) -> PeftConfig:
    names = architecture_of(encoder)
    return IA3Config(
        target_modules=adapted(encoder.model, names.scaled, options),
        feedforward_modules=adapted(encoder.model, names.outputs, options),
    )


def _prompt(encoder: Encoder, options: TrainOptions) -> PeftConfig:
    """Prompt tuning as new words that every text begins with, and whose vectors are learned.

    So the prompt is part of the encoder's token table and prefix once training is over, and every
    runtime, ONNX included, serves it without knowing.

    Raises SettingsError beside frozen layers.
    """
    if options.freeze_layers:
        raise SettingsError(
            f"freeze_layers = {options.freeze_layers} beside the method prompt, which learns below "
            "every layer: leave it at 0, or use full, lora, adalora or ia3"
        )
    words = [f"[prompt{at}]" for at in range(PROMPT_TOKENS)]
    encoder.tokenizer.add_tokens(
        [AddedToken(word, normalized=False, special=True) for word in words], special_tokens=True
    )
    transformer: Any = encoder.model
    old = transformer.get_input_embeddings().num_embeddings
    table = transformer.resize_token_embeddings(len(encoder.tokenizer), mean_resizing=False)
    places = encoder.tokenizer.convert_tokens_to_ids(words)
    with torch.no_grad():
        table.weight[places] = table.weight[torch.randint(old, (PROMPT_TOKENS,))]
    encoder.prefix = "".join(words) + encoder.prefix
    encoder.max_length = min(encoder.max_length + PROMPT_TOKENS, _positions(transformer.config))
    return TrainableTokensConfig(token_indices=places)


def _positions(config: Any) -> int:
    """Tokens a transformer has positions for; the RoBERTa family counts from padding + 1."""
    shifted = config.model_type in ("mpnet", "roberta", "xlm-roberta", "camembert")
    return int(config.max_position_embeddings) - (2 if shifted else 0)


# Learning rates: of full the better of 1e-4 and 2e-4 on BANKING77 with 10 rows a label, with minilm
# (recipe_for). LoRA's recipe is the best of four on all its rows (1,540 questions, one seed;
# docs/fine_tuning.md). The rates of AdaLoRA, IA3 and prompts, and all of MATCHING_METHODS, are the
# field's customs and were not measured here.
METHODS: Mapping[Method, MethodRecipe] = {
    Method.FROZEN: MethodRecipe(1, 64, 1e-2, 1e-2, cached=True),
    Method.FULL: MethodRecipe(6, 32, 2e-4, 1e-3),
    Method.LORA: MethodRecipe(6, 32, 2e-3, 2e-3, adapter=_lora),
    Method.ADALORA: MethodRecipe(8, 32, 3e-3, 1e-3, adapter=_adalora),
    Method.IA3: MethodRecipe(8, 32, 1e-2, 1e-3, adapter=_ia3),
    Method.PROMPT: MethodRecipe(8, 32, 1e-2, 1e-3, adapter=_prompt),
}
# Matching pulls at the whole space and not at one label: shorter and gentler.
MATCHING_METHODS: Mapping[Method, MethodRecipe] = {
    Method.FULL: replace(METHODS[Method.FULL], epochs=3, batch_size=64, learning_rate=5e-5),
    Method.LORA: replace(METHODS[Method.LORA], epochs=3, batch_size=64, learning_rate=5e-4),
    Method.ADALORA: replace(METHODS[Method.ADALORA], epochs=3, batch_size=64, learning_rate=1e-3),
    Method.IA3: replace(METHODS[Method.IA3], epochs=3, batch_size=64),
    Method.PROMPT: replace(METHODS[Method.PROMPT], epochs=3, batch_size=64),
}


# Numbers in a vector of minilm, for which the rates of METHODS were chosen.
USUAL_WIDTH = 384


def recipe_for(method: Method, width: int) -> MethodRecipe:
    """The recipe for an encoder whose vectors have `width` numbers.

    Where the encoder's own weights learn, a wider one takes smaller steps: 2e-4 at 384 numbers and
    5e-5 at 768, the two that were measured (docs/fine_tuning.md), lie on a rate that falls with
    the square of the width.
    """
    recipe = METHODS[method]
    if method is not Method.FULL:
        return recipe
    share = min(1.0, USUAL_WIDTH / width) ** 2
    return replace(recipe, learning_rate=recipe.learning_rate * share)


def scoring_recipe(method: Method, width: int) -> MethodRecipe:
    """The recipe for a scorer of pairs, whose encoder has to learn to read two texts at once.

    At the rates of classification: of 1,000 pairs of BANKING77 full is right in .780 at 2e-4 and in
    .732 at matching's 5e-5, after 2,000 to learn from (docs/fine_tuning.md).
    """
    return replace(recipe_for(method, width), epochs=3, batch_size=64)


def apply_method(encoder: Encoder, method: Method, options: TrainOptions) -> None:
    """Decide in place which of the encoder's weights learn, adding the method's adapter.

    Raises:
        ModelError: an adapter does not know the encoder's architecture.
        SettingsError: more layers are to be frozen than there are, or beneath a prompt.
    """
    recipe = METHODS[method]
    check_freezing(encoder.model, options, adapter=recipe.adapter is not None)
    if recipe.adapter is not None:
        config = recipe.adapter(encoder, options)
        with warnings.catch_warnings():
            # peft 0.21 still asks transformers 5.23 by a name that is on its way out.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            encoder.model = get_peft_model(encoder.model, config)
        return
    for name, parameter in encoder.model.named_parameters():
        parameter.requires_grad_(not recipe.cached and learns(name, options))


def architecture_of(encoder: Encoder) -> Architecture:
    """Raises ModelError for a family that is not in ARCHITECTURES."""
    transformer: Any = encoder.model
    kind = str(transformer.config.model_type)
    if kind not in ARCHITECTURES:
        raise ModelError(
            f"encoder of the family {kind!r}: adapters are known for "
            f"{', '.join(ARCHITECTURES)}; use the method full or frozen"
        )
    return ARCHITECTURES[kind]


class RankAllocation(TrainerCallback):  # type: ignore[misc]
    """AdaLoRA's own clockwork: after each step, take rank from where it matters least.

    A tenth of the steps at full rank, then down, the last third at the ranks reached. What it
    decides by, the running means of importance and the ranks left so far, is written into each
    checkpoint before that is sealed, so that a run that goes on decides as an unbroken one.
    """

    def __init__(self, adapter: Any) -> None:
        self.adapter = adapter

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Raises ModelError: the checkpoint gone on from does not say what the ranks hang on."""
        config = self.adapter.peft_config["default"]
        config.total_step = state.max_steps
        config.tinit = state.max_steps // 10
        config.tfinal = state.max_steps // 3
        config.deltaT = max(1, state.max_steps // 50)
        self.adapter.rankallocator.set_total_step(state.max_steps)
        if state.global_step:
            self._take_up(_allocation_file(args, state))

    def on_optimizer_step(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        self.adapter.update_and_allocate(state.global_step + 1)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        if not state.is_world_process_zero:
            return
        allocator = self.adapter.rankallocator
        kept = {
            f"{kind}/{name}": value.detach().cpu().contiguous()
            for kind in _MEANS
            for name, value in getattr(allocator, kind).items()
        }
        pattern = self.adapter.peft_config["default"].rank_pattern or {}
        kept |= {f"{_PATTERN}/{name}": torch.tensor(alive) for name, alive in pattern.items()}
        save_file(kept, _allocation_file(args, state))

    def _take_up(self, path: Path) -> None:
        if not path.is_file():
            raise ModelError(
                f"{path}: is not there, so AdaLoRA cannot go on as it began; remove "
                f"{path.parent.parent} to begin anew"
            )
        stored: dict[str, dict[str, Tensor]] = {kind: {} for kind in (*_MEANS, _PATTERN)}
        for key, value in load_file(path).items():
            kind, name = key.split("/", 1)
            stored[kind][name] = value
        device = next(self.adapter.parameters()).device
        for kind in _MEANS:
            means = {name: value.to(device) for name, value in stored[kind].items()}
            setattr(self.adapter.rankallocator, kind, means)
        pattern = {name: alive.tolist() for name, alive in stored[_PATTERN].items()}
        self.adapter.peft_config["default"].rank_pattern = pattern or None


def _allocation_file(args: TrainingArguments, state: TrainerState) -> Path:
    """Of the checkpoint of the step that the state is at."""
    return Path(str(args.output_dir)) / f"{PREFIX}{state.global_step}" / ALLOCATION


def adapter_callbacks(model: nn.Module) -> tuple[TrainerCallback, ...]:
    """What the adapters inside `model` want to be told of the steps."""
    return tuple(
        RankAllocation(module) for module in model.modules() if isinstance(module, AdaLoraModel)
    )


def orthogonality(model: nn.Module) -> Tensor | None:
    """(): AdaLoRA's own part of the loss, which keeps its ranks apart; None without AdaLoRA.

    Over all its matrices the mean of |A A^T - I| for A (rank, in) and of |B^T B - I| for B
    (out, rank), Frobenius, times orth_reg_weight; 0 where all are orthonormal. PEFT adds it to the
    loss that a transformer returns, and an encoder returns none. Source: PEFT's
    AdaLoraModel.forward, after Zhang et al. 2023, AdaLoRA, section 3.1, which squares and sums.
    """
    adapter = next((m for m in model.modules() if isinstance(m, AdaLoraModel)), None)
    if adapter is None:
        return None
    apart = []
    for name, matrix in adapter.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            # Near the identity half precision would see little but its own rounding.
            with torch.autocast(matrix.device.type, enabled=False):
                square = matrix @ matrix.T if "lora_A" in name else matrix.T @ matrix
                eye = torch.eye(len(square), device=square.device)  # (rank, rank)
                apart.append(torch.linalg.matrix_norm(square - eye))
    weight = float(adapter.peft_config["default"].orth_reg_weight)
    return weight * torch.stack(apart).mean()


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
    depths = {name: layer_of(name) for name in learned}
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
