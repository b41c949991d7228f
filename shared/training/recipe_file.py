"""A recipe of fine-tuning as a file: what a search found, or what a person wrote.

TOML: `[recipe]` holds values of TrainOptions; `[search]`, where a search wrote the file, where they
come from.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from shared.atomic import write_text
from shared.errors import SettingsError
from shared.settings import Section, check_sections, load_section
from shared.training.examples import Examples
from shared.training.options import Method, TrainOptions

RECIPE, SEARCH = "recipe", "search"
OF_HEADS = ("head_learning_rate", "label_smoothing", "class_weights", "contrastive", "dropout")


class RecipeSection(Section):
    """[recipe]: what TrainOptions calls by the same name, so that minutes are those of fine-tuning;
    what is absent stays as it was."""

    method: Literal["frozen", "full", "lora", "adalora", "ia3", "prompt"] | None = None
    learning_rate: float | None = Field(default=None, gt=0)
    head_learning_rate: float | None = Field(default=None, gt=0)
    epochs: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    label_smoothing: float | None = Field(default=None, ge=0, lt=1)
    layer_decay: float | None = Field(default=None, gt=0, le=1)
    freeze_embeddings: bool | None = None
    freeze_layers: int | None = Field(default=None, ge=0)
    class_weights: Literal["none", "sqrt", "balanced"] | None = None
    contrastive: float | None = Field(default=None, ge=0)
    keep: Literal["best", "last"] | None = None
    dropout: float | None = Field(default=None, ge=0, lt=1)
    weight_decay: float | None = Field(default=None, ge=0)
    warmup: float | None = Field(default=None, ge=0, lt=1)
    adapter_rank: int | None = Field(default=None, ge=1)
    adapter_alpha: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)

    def of_heads(self) -> tuple[str, ...]:
        """The keys given that say how heads learn, and nothing where there are none."""
        return tuple(key for key in OF_HEADS if getattr(self, key) is not None)


class SearchSection(Section):
    """[search]: how the recipe was found.

    data: of the rows the search saw (`content_of`). value: of the metric, on `rows` rows of the
    development part.
    """

    app: str
    base: str
    data: str
    metric: str
    value: float
    rows: int
    trials: int
    minutes: float


@dataclass(frozen=True)
class RecipeFile:
    """recipe: what to do. search: why it is believed in, None where a person wrote it."""

    recipe: RecipeSection
    search: SearchSection | None = None

    @classmethod
    def read(cls, path: Path) -> "RecipeFile":
        """Raises SettingsError: file, key, value and what is allowed."""
        sections = check_sections(path, (RECIPE, SEARCH))
        recipe = load_section(RecipeSection, RECIPE, file=path, environ={})
        if not recipe.model_dump(exclude_none=True):
            keys = ", ".join(RecipeSection.model_fields)
            raise SettingsError(f"{path}: no value in [{RECIPE}]: expected one or more of {keys}")
        if SEARCH not in sections:
            return cls(recipe)
        return cls(recipe, load_section(SearchSection, SEARCH, file=path, environ={}))

    def write(self, path: Path) -> None:
        """Replace the file."""
        lines: list[str] = []
        sections: dict[str, Section] = {RECIPE: self.recipe}
        if self.search is not None:
            found = self.search
            sections[SEARCH] = found
            lines = [
                f"# The best of {found.trials} trials in {found.minutes:g} minutes: "
                f"{found.metric} {found.value:.4f}",
                f"# on {found.rows} rows that no trial learned from, and that chose it: a new "
                "model's report",
                "# stands on other rows.",
                "",
            ]
        for name, section in sections.items():
            values = section.model_dump(exclude_none=True)
            lines += [f"[{name}]", *(f"{key} = {_toml(v)}" for key, v in values.items()), ""]
        write_text(path, "\n".join(lines[:-1]) + "\n")

    def applied(self, options: TrainOptions) -> TrainOptions:
        """The options with the recipe's values; epochs and minutes asked for by name stand.

        Raises SettingsError where the call asks for another method or base encoder.
        """
        own = self.recipe.method
        if own is not None and options.method not in (Method.AUTO, own):
            raise SettingsError(
                f"--method {options.method} beside a recipe for {own}: leave one out"
            )
        if self.search is not None and options.base != self.search.base:
            raise SettingsError(
                f"the recipe was searched with the base encoder {self.search.base!r}, this "
                f"training has {options.base!r}: add --base {self.search.base}"
            )
        return replace(options, **self._values_beside(options))

    def _values_beside(self, options: TrainOptions) -> dict[str, Any]:
        """What the recipe decides."""
        values = self.recipe.model_dump(exclude_none=True)
        asked = [name for name in ("epochs", "minutes") if getattr(options, name) is not None]
        if options.call_minutes is not None:
            asked.append("minutes")
        return {name: value for name, value in values.items() if name not in asked}

    def notes(self, options: TrainOptions, *, data: str | None) -> tuple[str, ...]:
        """What the report must say. options: as in `applied`. data: of the rows this training would
        let a search see; None where the report's rows come from a file of their own."""
        found = self.search
        if found is None:
            values = self._values_beside(options)
            return ("Recipe: " + ", ".join(f"{k} = {v}" for k, v in values.items()) + ".",)
        origin = (
            f"Recipe: the best of {found.trials} trials, {found.metric} {found.value:.3f} on "
            f"{found.rows} rows cut from the training rows."
        )
        if data is None or data == found.data:
            return (origin,)
        leak = (
            "The recipe was searched on other rows than this model learned from: rows of this "
            "report may have helped to choose it. Search again, or give a validation file."
        )
        return (origin, leak)


def content_of(parts: Mapping[str, Examples]) -> str:
    """sha256 of texts and labels, head by head, in their order."""
    digest = hashlib.sha256()
    for name, part in sorted(parts.items()):
        rows: Sequence[object] = [name, part.texts, part.labels]
        digest.update(json.dumps(rows, ensure_ascii=False).encode())
    return digest.hexdigest()


def _toml(value: object) -> str:
    """Text, numbers and truth values: the same in JSON."""
    return json.dumps(value, ensure_ascii=False)
