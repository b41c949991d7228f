"""A search through the pipeline: which rows it may see, the file it writes, and who may use it."""

import csv
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from apps.chatbot.recipe import HELD_OUT_SHARE, ChatbotRecipe
from apps.recommender.recipe import RecommenderRecipe
from pipelines.cli import app
from pipelines.search import DEVELOPMENT_SHARE, follow, run_search
from shared.errors import SettingsError
from shared.run_journal import find_run
from shared.settings import Home
from shared.training.examples import from_rows, split
from shared.training.learning_tuned import tasks_of
from shared.training.options import Method, TrainOptions
from shared.training.recipe_file import RecipeFile
from shared.training.trials import Budget

WORDS = {"card": ["card", "lost"], "refund": ["refund", "money"], "order": ["order", "late"]}
OPTIONS = TrainOptions(batch_size=16, threads=1, progress=False)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """150 questions, each fifth with a near duplicate."""
    rng = random.Random(3)
    path = tmp_path / "questions.csv"
    fillers = "the a my is was where how when will it help please hello tea cup shoe bad".split()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for row in range(150):
            label = sorted(WORDS)[row % 3]
            text = " ".join([*rng.sample(fillers, 6), rng.choice(WORDS[label])])
            writer.writerow([text, label])
            if row % 5 == 0:
                writer.writerow([f"{text}!", label])
    return path


@pytest.fixture
def recipe(questions: Path) -> ChatbotRecipe:
    return ChatbotRecipe(examples=(questions,))


def rows_of(path: Path) -> list[tuple[str, str]]:
    with path.open() as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def test_a_search_sees_no_row_that_the_report_is_written_on(
    recipe: ChatbotRecipe, questions: Path, tmp_path: Path
) -> None:
    rows = rows_of(questions)
    whole = from_rows([text for text, _ in rows], [(label,) for _, label in rows], "single")
    judged = split(whole, fraction=HELD_OUT_SHARE, seed=OPTIONS.seed).validation
    heads = recipe.heads(OPTIONS, home=Home(tmp_path), say=lambda _: None)
    (task,) = tasks_of(heads, fraction=DEVELOPMENT_SHARE, seed=OPTIONS.seed)
    seen = {*task.train.texts, *task.validation.texts}
    assert judged.texts
    assert not seen & set(judged.texts)
    assert len(seen) + len(set(judged.texts)) == len({text for text, _ in rows})
    # Nor does a near duplicate of a row that is learned from judge a trial.
    assert not {t.rstrip("!") for t in task.train.texts} & {
        t.rstrip("!") for t in (*task.validation.texts, *judged.texts)
    }


def test_with_a_validation_file_all_examples_may_be_searched_on(
    recipe: ChatbotRecipe, questions: Path, tmp_path: Path
) -> None:
    apart = replace(recipe, validation=(questions,))
    (head,) = apart.heads(OPTIONS, home=Home(tmp_path), say=lambda _: None)
    assert len(head.examples) == len(rows_of(questions))


def test_the_recipe_is_written_and_followed(
    recipe: ChatbotRecipe, tiny_encoder: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    options = replace(OPTIONS, base=str(tiny_encoder))
    found = run_search(
        recipe,
        name="support",
        options=options,
        budget=Budget(minutes=0.1, trial_minutes=0.1),
        methods=(Method.FROZEN, Method.FULL),
        home=home,
        output=None,
        say=lambda _: None,
    )
    assert found.path == home.runs / "support" / "recipe.toml"
    written = RecipeFile.read(found.path)
    assert written.recipe.method == found.searched.best.recipe["method"]
    assert written.search is not None
    assert written.search.rows == found.searched.rows
    told, notes = follow(found.path, recipe, options, judged_apart=False, home=home)
    for name, value in found.searched.best.recipe.items():
        assert getattr(told, name) == value
    assert len(notes) == 1

    other = replace(options, seed=99)  # cuts off other rows for its report
    _, notes = follow(found.path, recipe, other, judged_apart=False, home=home)
    assert notes[1].startswith("The recipe was searched on other rows")
    _, notes = follow(found.path, recipe, other, judged_apart=True, home=home)
    assert len(notes) == 1

    shop = RecommenderRecipe(items=found.path, events=found.path)
    with pytest.raises(SettingsError) as caught:
        follow(found.path, shop, options, judged_apart=False, home=home)
    assert str(caught.value) == f"{found.path}: a recipe for chatbot, this is recommender"


def test_what_is_said_of_heads_is_refused_where_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    shop = RecommenderRecipe(items=path, events=path)
    home = Home(tmp_path / "home")
    path.write_text("[recipe]\ndropout = 0.2\nclass_weights = 'sqrt'\nepochs = 2\n")
    with pytest.raises(SettingsError) as caught:
        follow(path, shop, OPTIONS, judged_apart=False, home=home)
    assert str(caught.value) == (
        f"{path}: class_weights, dropout in [recipe]: the recommender learns from pairs of texts, "
        "without a head; leave that out"
    )
    path.write_text("[recipe]\nepochs = 2\n")
    assert follow(path, shop, OPTIONS, judged_apart=False, home=home)[0].epochs == 2


def test_the_command_prints_the_trials_and_the_recipe(
    questions: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    arguments = ["search", "chatbot", "--examples", str(questions), "--name", "support"]
    arguments += ["--minutes", "0.05", "--method", "frozen", "--base", str(tiny_encoder)]
    arguments += ["--home", str(tmp_path / "home"), "--output", str(tmp_path / "support.toml")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "* trial 0: macro_f1 " in done.stdout
    assert "Judged on " in done.stdout
    assert f"--name support --recipe {tmp_path / 'support.toml'}" in done.stdout
    assert (tmp_path / "support.toml").read_text().count('method = "frozen"') == 1


def test_the_command_called_with_more_minutes_goes_on_with_the_same_trials(
    questions: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    arguments = ["search", "chatbot", "--examples", str(questions), "--name", "support"]
    arguments += ["--method", "frozen", "--base", str(tiny_encoder), "--json"]
    arguments += ["--home", str(tmp_path / "home")]
    first = CliRunner().invoke(app, [*arguments, "--minutes", "0.4"])
    assert first.exit_code == 0, first.output
    assert "Going on" not in first.stderr
    again = CliRunner().invoke(app, [*arguments, "--minutes", "0.8"])
    assert again.exit_code == 0, again.output
    assert "Going on with the search that is there, of 0.05 minutes a trial" in again.stderr
    before, after = json.loads(first.stdout), json.loads(again.stdout)
    assert before["trial_minutes"] == after["trial_minutes"] == 0.05
    assert before["trials"] == after["trials"]  # its seconds too: nothing was learned again
    other = CliRunner().invoke(app, [*arguments, "--minutes", "0.8", "--trial-minutes", "0.1"])
    assert other.exit_code == 0, other.output
    assert "Beginning a new search, of 0.1 minutes a trial: the one that is there" in other.stderr
    assert json.loads(other.stdout)["trial_minutes"] == 0.1


def test_a_training_follows_the_recipe_and_its_report_says_so(
    questions: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    files = ["chatbot", "--examples", str(questions), "--name", "support"]
    place = ["--base", str(tiny_encoder), "--home", str(tmp_path / "home"), "--json"]
    tried = ["--minutes", "0.25", "--trial-minutes", "0.1", "--method", "lora"]
    found = CliRunner().invoke(app, ["search", *files, *place, *tried])
    assert found.exit_code == 0, found.output
    file = json.loads(found.stdout)["recipe"]
    done = CliRunner().invoke(app, ["train", *files, *place, "--recipe", file])
    assert done.exit_code == 0, done.output
    notes = json.loads(done.stdout)["report"]["notes"]
    assert [note for note in notes if note.startswith("Recipe: the best of ")]
    assert not [note for note in notes if "may have helped to choose it" in note]
    run = find_run(tmp_path / "home" / "runs", "support")
    best = json.loads(found.stdout)["best"]["recipe"]
    assert run.options["method"] == "lora"
    assert run.options["learning_rate"] == best["learning_rate"]


def test_auto_is_no_method_to_try(questions: Path, tmp_path: Path) -> None:
    arguments = ["search", "chatbot", "--examples", str(questions), "--name", "support"]
    done = CliRunner().invoke(app, [*arguments, "--method", "auto", "--home", str(tmp_path)])
    assert isinstance(done.exception, SettingsError)
    assert str(done.exception).startswith("--method auto: a search tries methods by name")
