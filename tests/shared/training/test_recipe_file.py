"""Recipe files: written and read back, refused with the reason, and honest about their rows."""

from pathlib import Path

import numpy as np
import pytest

from shared.errors import SettingsError
from shared.training.examples import Examples
from shared.training.options import TrainOptions
from shared.training.recipe_file import RecipeFile, RecipeSection, SearchSection, content_of

FOUND = RecipeFile(
    RecipeSection(
        method="lora", learning_rate=0.0021, epochs=5, adapter_rank=4, adapter_alpha=8, minutes=3.5
    ),
    SearchSection(
        app="chatbot",
        base="minilm",
        data="d" * 64,
        metric="macro_f1",
        value=0.9123,
        rows=321,
        trials=12,
        minutes=29.5,
    ),
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    FOUND.write(tmp_path / "r.toml")
    assert RecipeFile.read(tmp_path / "r.toml") == FOUND
    text = (tmp_path / "r.toml").read_text()
    assert text.startswith("# The best of 12 trials in 29.5 minutes: macro_f1 0.9123\n")
    assert "layer_decay" not in text


def test_a_mistake_in_the_file_is_named(tmp_path: Path) -> None:
    FOUND.write(tmp_path / "r.toml")
    text = (tmp_path / "r.toml").read_text()
    for old, new, message in [
        ("epochs = 5", "epochs = 0", "r.toml [recipe]: epochs = 0, expected a whole number >= 1"),
        (
            "epochs = 5",
            "epoch = 5",
            "r.toml [recipe]: unknown key 'epoch', did you mean 'epochs'?; allowed: ",
        ),
        ("[search]", "[serach]", "r.toml: unknown section [serach], did you mean 'search'?; known"),
    ]:
        (tmp_path / "r.toml").write_text(text.replace(old, new))
        with pytest.raises(SettingsError) as caught:
            RecipeFile.read(tmp_path / "r.toml")
        assert str(caught.value).startswith(message)


def test_the_recipe_fills_the_options_and_what_was_asked_for_by_name_stands() -> None:
    options = FOUND.applied(TrainOptions(seed=5, epochs=2))
    assert (options.method, options.learning_rate, options.adapter_rank) == ("lora", 0.0021, 4)
    assert (options.epochs, options.minutes, options.seed) == (2, 3.5, 5)
    assert options.label_smoothing == TrainOptions().label_smoothing
    # Minutes of the whole command take the place of those that fine-tuning had in a trial.
    whole = FOUND.applied(TrainOptions(call_minutes=10.0))
    assert (whole.call_minutes, whole.minutes) == (10.0, None)


def test_another_method_or_encoder_is_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        FOUND.applied(TrainOptions(method="full"))
    assert str(caught.value) == "--method full beside a recipe for lora: leave one out"
    with pytest.raises(SettingsError) as caught:
        FOUND.applied(TrainOptions(base="e5"))
    assert str(caught.value) == (
        "the recipe was searched with the base encoder 'minilm', this training has 'e5': "
        "add --base minilm"
    )


def test_a_report_on_rows_that_a_search_may_have_seen_says_so() -> None:
    (origin,) = FOUND.notes(TrainOptions(), data="d" * 64)
    assert origin == (
        "Recipe: the best of 12 trials, macro_f1 0.912 on 321 rows cut from the training rows."
    )
    assert FOUND.notes(TrainOptions(), data=None) == (origin,)
    _, leak = FOUND.notes(TrainOptions(), data="e" * 64)
    assert leak.startswith("The recipe was searched on other rows than this model learned from")


def test_the_content_of_rows_changes_with_any_of_them() -> None:
    def part(*rows: tuple[str, str]) -> Examples:
        return Examples(
            tuple(text for text, _ in rows),
            tuple((label,) for _, label in rows),
            np.arange(len(rows)),
        )

    whole = content_of({"intent": part(("hi", "a"), ("no", "b"))})
    assert whole == content_of({"intent": part(("hi", "a"), ("no", "b"))})
    others = [
        {"intent": part(("hi", "a"))},
        {"intent": part(("hi", "a"), ("no", "a"))},
        {"intent": part(("no", "b"), ("hi", "a"))},
        {"other": part(("hi", "a"), ("no", "b"))},
    ]
    assert whole not in {content_of(other) for other in others}


def test_a_recipe_that_a_person_wrote_needs_no_search(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('[recipe]\nfreeze_layers = 3\nclass_weights = "sqrt"\n')
    found = RecipeFile.read(path)
    assert found.search is None
    options = found.applied(TrainOptions(method="lora", base="e5"))
    assert (options.method, options.base) == ("lora", "e5")
    assert (options.freeze_layers, options.class_weights) == (3, "sqrt")
    assert found.notes(TrainOptions(), data="d" * 64) == (
        "Recipe: freeze_layers = 3, class_weights = sqrt.",
    )
    found.write(tmp_path / "again.toml")
    assert RecipeFile.read(tmp_path / "again.toml") == found


def test_what_few_labels_are_learned_by_can_be_switched_off(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('[recipe]\ncontrastive = 0.0\nkeep = "best"\n')
    options = RecipeFile.read(path).applied(TrainOptions())
    assert (options.contrastive, options.keep) == (0.0, "best")


def test_the_report_names_what_the_recipe_decided(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("[recipe]\nepochs = 5\nlayer_decay = 0.8\n")
    found = RecipeFile.read(path)
    assert found.notes(TrainOptions(epochs=2), data=None) == ("Recipe: layer_decay = 0.8.",)
    assert found.notes(TrainOptions(), data=None) == ("Recipe: epochs = 5, layer_decay = 0.8.",)


def test_a_recipe_that_says_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("[recipe]\n")
    with pytest.raises(SettingsError) as caught:
        RecipeFile.read(path)
    assert str(caught.value) == (
        f"{path}: no value in [recipe]: expected one or more of "
        f"{', '.join(RecipeSection.model_fields)}"
    )
