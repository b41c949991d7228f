"""Which weights learn under each method, the learning rates, and the choice among methods."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from shared.errors import ModelError, SettingsError
from shared.modeling.encoder import Encoder
from shared.modeling.heads import HeadSpec
from shared.modeling.text_model import TextModel
from shared.training.batches import columns_of
from shared.training.method_choice import ADAPTERS, RULES, choose_method
from shared.training.methods import (
    METHODS,
    PROMPT_TOKENS,
    RankAllocation,
    adapter_callbacks,
    apply_method,
    architecture_of,
    merge_adapter,
    orthogonality,
    parameter_groups,
    recipe_for,
    scoring_recipe,
)
from shared.training.objectives import HeadsObjective
from shared.training.options import Method, TrainOptions

SPEC = HeadSpec("tone", "single", ("bad", "good"))


def prepared(folder: Path, method: Method, options: TrainOptions) -> HeadsObjective:
    encoder = Encoder.from_pretrained(folder)
    apply_method(encoder, method, options)
    return HeadsObjective(
        TextModel(encoder, [SPEC]),
        columns_of([SPEC]),
        scales=[1.0],
        label_weights=[None],
        label_smoothing=0.0,
    )


def learned(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_the_adapters_are_the_methods_with_an_adapter() -> None:
    assert {name for name, recipe in METHODS.items() if recipe.adapter is not None} == ADAPTERS


def test_frozen_leaves_the_heads_only(tiny_encoder: Path) -> None:
    names = learned(prepared(tiny_encoder, Method.FROZEN, TrainOptions()))
    assert names == {"model.heads.tone.linear.weight", "model.heads.tone.linear.bias"}


def test_full_learns_all_layers_and_the_embeddings_only_if_asked(tiny_encoder: Path) -> None:
    without = learned(prepared(tiny_encoder, Method.FULL, TrainOptions()))
    everything = learned(prepared(tiny_encoder, Method.FULL, TrainOptions(freeze_embeddings=False)))
    assert not any("embeddings" in name for name in without)
    assert all("embeddings" in name for name in everything - without)
    assert "model.encoder.model.embeddings.word_embeddings.weight" in everything


def test_lora_learns_beside_query_and_value_under_two_per_cent(minilm: Path) -> None:
    model = prepared(minilm, Method.LORA, TrainOptions(adapter_rank=8))
    names = {name for name in learned(model) if "heads" not in name}
    assert all("lora_" in name for name in names)
    assert {name.split(".lora_")[0].rsplit(".", 1)[1] for name in names} == {"query", "value"}
    size = sum(p.numel() for n, p in model.named_parameters() if n in names)
    assert size == 6 * 2 * 2 * 8 * 384
    assert size / sum(p.numel() for p in model.parameters()) < 0.02


@pytest.mark.parametrize("method", [m for m in METHODS if METHODS[m].adapter])
def test_a_merged_adapter_computes_what_the_adapter_did(tiny_encoder: Path, method: Method) -> None:
    torch.manual_seed(1)
    encoder = Encoder.from_pretrained(tiny_encoder)
    apply_method(encoder, method, TrainOptions())
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    encoder.eval()
    batch = encoder.tokens(["the card is lost", "tea"])
    with torch.no_grad():
        before = encoder(**batch)
        merge_adapter(encoder)
        after = encoder(**batch)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    plain = {name for name, _ in Encoder.from_pretrained(tiny_encoder).named_parameters()}
    assert {name for name, _ in encoder.named_parameters()} == plain


def test_lower_layers_learn_more_slowly_and_biases_are_not_decayed(tiny_encoder: Path) -> None:
    options = TrainOptions(
        learning_rate=1.0,
        head_learning_rate=7.0,
        layer_decay=0.5,
        weight_decay=0.1,
        freeze_embeddings=False,
    )
    model = prepared(tiny_encoder, Method.FULL, options)
    rates = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in parameter_groups(model, METHODS[Method.FULL], options)
        for parameter in group["params"]
    }
    found = {name: rates[id(p)] for name, p in model.named_parameters() if p.requires_grad}
    layer = "model.encoder.model.encoder.layer.{}.attention.self.query.{}"
    assert found[layer.format(1, "weight")] == (1.0, 0.1)
    assert found[layer.format(0, "weight")] == (0.5, 0.1)
    assert found[layer.format(0, "bias")] == (0.5, 0.0)
    assert found["model.encoder.model.embeddings.word_embeddings.weight"] == (0.25, 0.1)
    assert found["model.heads.tone.linear.weight"] == (7.0, 0.1)
    assert found["model.heads.tone.linear.bias"] == (7.0, 0.0)


@pytest.mark.parametrize(
    ("width", "rate"), [(32, 2e-4), (384, 2e-4), (768, 5e-5), (1024, 2.8125e-5)]
)
def test_a_wider_encoder_takes_smaller_steps(width: int, rate: float) -> None:
    assert recipe_for(Method.FULL, width).learning_rate == pytest.approx(rate)
    assert scoring_recipe(Method.FULL, width).learning_rate == pytest.approx(rate)
    own = [method for method in Method if method not in (Method.AUTO, Method.FULL)]
    assert all(recipe_for(method, width) is METHODS[method] for method in own)


def test_adapters_learn_at_one_rate(tiny_encoder: Path) -> None:
    options = TrainOptions(learning_rate=1.0, head_learning_rate=7.0, layer_decay=0.5)
    model = prepared(tiny_encoder, Method.LORA, options)
    groups = parameter_groups(model, METHODS[Method.LORA], options)
    assert {group["lr"] for group in groups} == {1.0, 7.0}


def test_adalora_ends_with_the_rank_it_was_given(tiny_encoder: Path) -> None:
    """Half as much rank again at first; at the end the target is left, all layers summed."""
    torch.manual_seed(1)
    model = prepared(tiny_encoder, Method.ADALORA, TrainOptions(adapter_rank=4))
    (clockwork,) = adapter_callbacks(model)
    arguments, control = TrainingArguments(output_dir="unused"), TrainerControl()
    state = TrainerState(max_steps=30)
    clockwork.on_train_begin(arguments, state, control)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    batch = model.model.encoder.tokens(["the card is lost", "tea"])
    for step in range(30):
        state.global_step = step
        model(torch.tensor([[0.0], [1.0]]), **batch)["loss"].backward()
        optimiser.step()
        clockwork.on_optimizer_step(arguments, state, control)
        optimiser.zero_grad()
    ranks = [p for name, p in model.named_parameters() if "lora_E" in name]
    assert len(ranks) == 4  # query and value of two layers
    assert sum(p.numel() for p in ranks) == 4 * 6
    assert sum(int((p != 0).sum()) for p in ranks) == 4 * 4


def test_ranks_are_kept_apart_by_how_far_they_are_from_orthonormal(tiny_encoder: Path) -> None:
    """A = 2 I has A A^T - I = 3 I, of norm 3 sqrt(rank); orthonormal columns of B have none."""
    model = prepared(tiny_encoder, Method.ADALORA, TrainOptions(adapter_rank=4))
    matrices = {name: p for name, p in model.named_parameters() if "lora_A" in name}
    others = {name: p for name, p in model.named_parameters() if "lora_B" in name}
    assert len(matrices) == len(others) == 4  # query and value of two layers
    with torch.no_grad():
        for one, other in zip(matrices.values(), others.values(), strict=True):
            one.copy_(2 * torch.eye(6, 32))  # rank 6 at first
            other.copy_(torch.eye(32, 6))
    with torch.autocast("cpu", torch.bfloat16):
        term = orthogonality(model)
    assert term is not None
    assert term.item() == pytest.approx(0.5 * (3 * 6**0.5 + 0) / 2, rel=1e-6)
    term.backward()  # type: ignore[no-untyped-call]
    for one, other in zip(matrices.values(), others.values(), strict=True):
        # d|A A^T - I| / dA = 2 (A A^T - I) A / |A A^T - I|, a share of 0.5 / 8 each.
        expected = 0.5 / 8 * 2 * 3 * 2 * torch.eye(6, 32) / (3 * 6**0.5)
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, expected)
        assert not other.grad.any()
    with torch.no_grad():
        next(iter(others.values())).mul_(3)
    term = orthogonality(model)
    assert term is not None
    term.backward()  # type: ignore[no-untyped-call]
    first, *rest = others.values()
    assert first.grad is not None
    assert first.grad.any()
    assert not any(other.grad is not None and other.grad.any() for other in rest)


@pytest.mark.parametrize("method", [m for m in METHODS if m is not Method.ADALORA])
def test_no_other_method_adds_to_the_loss(tiny_encoder: Path, method: Method) -> None:
    assert orthogonality(prepared(tiny_encoder, method, TrainOptions())) is None


def test_adalora_goes_on_with_the_ranks_and_means_of_its_checkpoint(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    arguments, control = TrainingArguments(output_dir=str(tmp_path)), TrainerControl()
    batch = Encoder.from_pretrained(tiny_encoder).tokens(["the card is lost", "tea"])

    def begun(step: int) -> tuple[HeadsObjective, RankAllocation]:
        torch.manual_seed(1)
        model = prepared(tiny_encoder, Method.ADALORA, TrainOptions(adapter_rank=4))
        (clockwork,) = adapter_callbacks(model)
        assert isinstance(clockwork, RankAllocation)
        state = TrainerState(max_steps=30, global_step=step)
        clockwork.on_train_begin(arguments, state, control)
        return model, clockwork

    model, clockwork = begun(0)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for step in range(25):
        state = TrainerState(max_steps=30, global_step=step)
        if step in (10, 24):  # while ranks are taken away, and once they are final
            (tmp_path / f"checkpoint-{step}").mkdir()
            clockwork.on_save(arguments, state, control)
            _, other = begun(step)
            one, two = clockwork.adapter.rankallocator, other.adapter.rankallocator
            assert (step == 10) == bool(one.exp_avg_unc)
            for kind in ("ipt", "exp_avg_ipt", "exp_avg_unc"):
                means, taken = getattr(one, kind), getattr(two, kind)
                assert means.keys() == taken.keys()
                assert all(torch.equal(means[name], taken[name]) for name in means)
            patterns = [c.adapter.peft_config["default"].rank_pattern for c in (clockwork, other)]
            assert patterns[0] == patterns[1]
            assert patterns[0]
        model(torch.tensor([[0.0], [1.0]]), **batch)["loss"].backward()
        optimiser.step()
        clockwork.on_optimizer_step(arguments, state, control)
        optimiser.zero_grad()
    with pytest.raises(ModelError) as caught:
        begun(11)
    missing = tmp_path / "checkpoint-11" / "rank_allocation.safetensors"
    assert str(caught.value) == (
        f"{missing}: is not there, so AdaLoRA cannot go on as it began; remove {tmp_path} to "
        "begin anew"
    )


def test_a_prompt_is_a_prefix_of_learned_words(tiny_encoder: Path, tmp_path: Path) -> None:
    model = prepared(tiny_encoder, Method.PROMPT, TrainOptions()).model
    learns = {name: p.shape for name, p in model.encoder.named_parameters() if p.requires_grad}
    assert list(learns.values()) == [torch.Size([PROMPT_TOKENS, 32])]
    plain = Encoder.from_pretrained(tiny_encoder)
    ids = model.encoder.tokens(["tea"])["input_ids"][0].tolist()
    assert len(ids) == len(plain.tokens(["tea"])["input_ids"][0]) + PROMPT_TOKENS
    assert len(set(ids[1 : 1 + PROMPT_TOKENS])) == PROMPT_TOKENS
    merge_adapter(model.encoder)
    model.encoder.save(tmp_path / "m")
    loaded = Encoder.from_pretrained(tmp_path / "m")
    assert loaded.tokens(["tea"])["input_ids"][0].tolist() == ids
    assert loaded.max_length == min(plain.max_length + PROMPT_TOKENS, 64)


def test_every_method_but_auto_has_a_recipe() -> None:
    assert set(METHODS) == set(Method) - {Method.AUTO}


def test_a_method_asked_for_is_taken() -> None:
    choice = choose_method("lora", smallest_label=1, minutes=0.1)
    assert (choice.method, choice.reason) == (Method.LORA, "asked for")


@pytest.mark.parametrize("smallest", [1, 3, 5, 10, 1000])
@pytest.mark.parametrize("minutes", [None, 0.1, 1.0, 100.0])
def test_auto_follows_the_first_rule_that_holds(smallest: int, minutes: float | None) -> None:
    choice = choose_method("auto", smallest_label=smallest, minutes=minutes)
    first = next(
        rule
        for rule in RULES
        if (rule.rows is None or smallest <= rule.rows)
        and (rule.minutes is None or (minutes is not None and minutes <= rule.minutes))
    )
    budget = "no time limit" if minutes is None else f"{minutes:.3g} minutes for it"
    assert choice.method is first.method
    assert choice.reason == f"{first.reason} (smallest label: {smallest} rows, {budget})"


def test_an_adapter_for_an_unknown_family_says_which_are_known() -> None:
    class Config:
        model_type = "whale"

    class Whale:
        model = nn.Module()

    Whale.model.config = Config()  # type: ignore[assignment]
    with pytest.raises(ModelError) as caught:
        architecture_of(Whale)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "encoder of the family 'whale': adapters are known for bert, roberta, xlm-roberta, "
        "camembert, electra, mpnet, distilbert; use the method full or frozen"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "forzen"},
            "method = 'forzen': expected one of " + ", ".join(m.value for m in Method),
        ),
        ({"minutes": 0.0}, "minutes = 0.0: expected more than 0"),
        ({"call_minutes": -1.0}, "call_minutes = -1.0: expected more than 0"),
        ({"epochs": 0}, "epochs = 0: expected 1 or more"),
        ({"label_smoothing": 1.0}, "label_smoothing = 1.0: expected 0 or more, below 1"),
        ({"layer_decay": 0.0}, "layer_decay = 0.0: expected above 0, at most 1"),
        ({"device": "tpu"}, "device = 'tpu': expected one of auto, cpu, cuda, mps"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        TrainOptions(**options)  # type: ignore[arg-type]
    assert str(caught.value) == message
