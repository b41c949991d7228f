"""`triptych search APP`: the recipe that fine-tunes best on this data, as a file.

The rows that a report will stand on are cut off first, just as the training cuts them off, and the
search never sees them. Of the others a development part, near duplicates kept together, judges the
trials.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from pipelines.train import Recipe
from shared.errors import SettingsError
from shared.pretrained import resolve
from shared.run_journal import locked
from shared.settings import Home
from shared.training.head_data import HeadData
from shared.training.learning_tuned import tasks_of
from shared.training.options import Method, TrainOptions
from shared.training.recipe_file import RecipeFile, RecipeSection, SearchSection, content_of
from shared.training.search import search
from shared.training.trials import Budget, Searched

# Of the rows a search sees: enough to tell recipes apart, which is not the same as to report.
DEVELOPMENT_SHARE = 0.2
FOLDER = "search"

Say = Callable[[str], None]


@runtime_checkable
class Searchable(Protocol):
    """A recipe of an application whose encoder learns from labels."""

    @property
    def app(self) -> str: ...

    def heads(self, options: TrainOptions, *, home: Home, say: Say) -> tuple[HeadData, ...]:
        """What teaches, head by head, without a row that the report is written on."""
        ...


@dataclass(frozen=True)
class Found:
    """The trials, and the file that holds the best one."""

    searched: Searched
    path: Path


def run_search(
    recipe: Searchable,
    *,
    name: str,
    options: TrainOptions,
    budget: Budget,
    methods: Sequence[Method],
    home: Home,
    output: Path | None,
    say: Say,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Search, or go on with a search of this name that was cut off, and write the recipe.

    output: the file; in the home where none is named.

    Raises:
        DataError: the tables, or no trial came to its end. ModelError: the encoder, or another
            process searches or trains under this name.
    """
    heads = recipe.heads(options, home=home, say=say)
    base = resolve(options.base, cache=home.cache)
    folder = home.runs / name / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / ".lock", name):
        searched = search(
            tasks_of(heads, fraction=DEVELOPMENT_SHARE, seed=options.seed),
            encoder=base,
            options=options,
            budget=budget,
            folder=folder,
            methods=methods,
            say=say,
            clock=clock,
        )
    path = output or home.runs / name / "recipe.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    values = dict(searched.best.recipe)
    if values["method"] != Method.FROZEN:
        values["minutes"] = searched.trial_minutes
    RecipeFile(
        RecipeSection(**values),
        SearchSection(
            app=recipe.app,
            base=options.base,
            data=content_of({head.name: head.examples for head in heads}),
            metric=searched.metric,
            value=round(searched.best.value or 0.0, 6),
            rows=searched.rows,
            trials=len(searched.trials),
            minutes=round(searched.seconds / 60, 1),
        ),
    ).write(path)
    return Found(searched, path)


def follow(
    path: Path, recipe: Recipe, options: TrainOptions, *, judged_apart: bool, home: Home
) -> tuple[TrainOptions, tuple[str, ...]]:
    """The options under the recipe file, and what the report must say of it.

    recipe: of the application that trains. judged_apart: its report is on a file of its own, which
    no search has read.

    Raises SettingsError: the file, or it was searched for another application, method or encoder.
    """
    found = RecipeFile.read(path)
    if not isinstance(recipe, Searchable) and (idle := found.recipe.of_heads()):
        raise SettingsError(
            f"{path}: {', '.join(idle)} in [recipe]: the {recipe.app} learns from pairs of texts, "
            "without a head; leave that out"
        )
    if found.search is None:
        return found.applied(options), found.notes(options, data=None)
    if not isinstance(recipe, Searchable) or recipe.app != found.search.app:
        raise SettingsError(f"{path}: a recipe for {found.search.app}, this is {recipe.app}")
    data = None
    if not judged_apart:
        heads = recipe.heads(options, home=home, say=lambda _: None)
        data = content_of({head.name: head.examples for head in heads})
    return found.applied(options), found.notes(options, data=data)
