"""The setting `device` reaches whatever loads a model, and `--device` wins over it.

Nothing is computed here: whoever asks where to compute is told of the device it was to ask for, as
an error that ends the command.
"""

import ast
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from apps.chatbot.chat_page import conversations_of
from apps.chatbot.recipe import ChatbotRecipe
from apps.news_monitor.headline_page import labeller_of
from apps.news_monitor.recipe import NewsRecipe
from apps.recommender import recommender
from apps.recommender.auditing import open_encoder
from apps.recommender.bundle import load_bundle
from apps.recommender.model_in_use_page import live
from apps.recommender.recipe import RecommenderRecipe
from apps.recommender.settings import RecommenderSettings, SequenceSettings
from pipelines.train import Recipe, train
from shared.device import Device
from shared.errors import SettingsError
from shared.inference import runtime
from shared.registry import Registry
from shared.settings import Home
from shared.training.options import TrainOptions

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[2]
WORDS = {"negative": "loss", "positive": "profit", "neutral": "order"}
FILLER = "the a my is was please help how will red blue tea cup shoe bank news".split()
# A model is computed with by these, which take the device as they are given it.
OPENERS = {
    "load_embedder", "open_base_encoder", "open_model_encoders", "open_finetuned_encoder",
    "TrainOptions",
}  # fmt: skip
COMMANDS: Mapping[str, Sequence[str]] = {
    "chatbot ask": ("chatbot", "ask", "my order", "--model", "chatbot"),
    "chatbot export": ("chatbot", "export", "--model", "chatbot", "--output", "{out}"),
    "chatbot import": (
        "chatbot", "import", "--dialogues", "{chats}", "--output", "{out}", "--base", "{base}"
    ),
    "data doctor chatbot": (
        "data", "doctor", "chatbot", "--examples", "{rows}", "--base", "{base}"
    ),
    "news once": ("news", "once"),
    "news replay": (
        "news", "replay", "--model", "news", "--items", "{stream}", "--output", "{out}"
    ),
    "recommender explain": (
        "explain", "recommender", "--model", "recommender", "--user", "u1", "--item", "i1"
    ),
    "recommender audit": ("audit", "recommender", "--model", "recommender", "--rows", "3"),
    **{
        f"{app} {name}": tuple(part.replace("APP", app) for part in command)
        for app in ("chatbot", "news")
        for name, command in {
            "audit": ("audit", "APP", "--model", "APP", "--input", "{rows}"),
            "explain": ("explain", "APP", "--model", "APP", "my order"),
            "data labels": ("data", "labels", "APP", "--examples", "{rows}", "--base", "{base}"),
            "data curve": ("data", "curve", "APP", "--examples", "{rows}", "--base", "{base}"),
            "data next": (
                "data", "next", "APP", "--model", "APP", "--input", "{rows}", "--output", "{out}"
            ),
        }.items()
    },
    **{
        f"{app} {name}": tuple(part.replace("APP", app) for part in command)
        for app in ("chatbot", "news", "recommender")
        for name, command in {
            "evaluate": ("evaluate", "APP", "--model", "APP", "--input", "{rows of APP}"),
            "compare": ("models", "compare", "APP@2", "APP@1", "--input", "{rows of APP}"),
            "promote": ("models", "promote", "APP", "2", "--input", "{rows of APP}"),
        }.items()
    },
}  # fmt: skip
WITH_DEVICE: Mapping[str, Sequence[str]] = {
    "import": ("recommender", "import", "--model", "recommender", "--events", "{events}"),
    "retrain": (
        "recommender", "retrain", "--model", "recommender", "--items", "{items}",
        "--events", "{events}", "--base", "{base}",
    ),
}  # fmt: skip


def clock() -> datetime:
    return datetime(2026, 3, 2, tzinfo=UTC)


def a_shop(folder: Path) -> tuple[Path, Path]:
    """Items and events: everybody goes through twelve items in a circle."""
    items = [f"i{n},tea cup number{n}" for n in range(12)]
    events = [
        f"u{user},i{(user + step) % 12},2024-01-{1 + step:02d}T{user % 24:02d}:00:00Z,buy"
        for user in range(60)
        for step in range(5)
    ]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *items]) + "\n")
    header = "user_id,item_id,timestamp,event"
    (folder / "events.csv").write_text("\n".join([header, *events]) + "\n")
    return folder / "items.csv", folder / "events.csv"


@pytest.fixture(scope="module")
def house(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two versions, which are the same, of a model of each application, and files."""
    folder = tmp_path_factory.mktemp("house")
    rng = np.random.default_rng(0)
    rows = [
        f"{' '.join(rng.permutation([*rng.choice(FILLER, 4, replace=False), word, word]))},{label}"
        for label, word in WORDS.items()
        for _ in range(30)
    ]
    (folder / "rows.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (folder / "stream.csv").write_text("published_at,title\n2026-03-01T10:00:00Z,my order\n")
    (folder / "chats.txt").write_text(
        "Customer: where is my order\nAgent: It will arrive tomorrow, I have looked it up.\n"
    )
    small = SequenceSettings(dimensions=8, hidden=8, epochs=1, least_steps=0)
    recipes: dict[str, Recipe] = {
        "chatbot": ChatbotRecipe([folder / "rows.csv"]),
        "news": NewsRecipe([folder / "rows.csv"], []),
        "recommender": RecommenderRecipe(
            *a_shop(folder),
            settings=RecommenderSettings(held_out="last", sequence=small),
            even_if_worse=True,
        ),
    }
    home = Home(folder)
    for name, recipe in recipes.items():
        options = TrainOptions(method="frozen", base=str(tiny_encoder), threads=1, device="cpu")
        made = train(recipe, name=name, options=options, home=home, clock=clock, say=lambda _: None)
        copy = shutil.copytree(made.version.path, folder / "copy")
        Registry(home.models, clock).publish(name, copy, app=name, metrics={})
    return folder


@pytest.fixture
def asked(house: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The settings say "cpu", and each loader says which device it was to ask for."""

    def told(wanted: Device) -> str:
        raise SettingsError(f"asked for {wanted}")

    (tmp_path / "triptych.toml").write_text(
        f'[triptych]\ndevice = "cpu"\n[news]\nfolder = "{tmp_path}"\n'
    )
    monkeypatch.setenv("TRIPTYCH_SETTINGS", str(tmp_path / "triptych.toml"))
    monkeypatch.setenv("TRIPTYCH_HOME", str(house))
    for module in (runtime, recommender):
        monkeypatch.setattr(module, "serving_device", told)


def filled(command: Sequence[str], house: Path, base: Path, out: Path) -> list[str]:
    values = {
        "{out}": out, "{base}": base, "{chats}": house / "chats.txt",
        "{stream}": house / "stream.csv", "{items}": house / "items.csv",
        "{events}": house / "events.csv", "{rows}": house / "rows.csv",
        "{rows of chatbot}": house / "rows.csv", "{rows of news}": house / "rows.csv",
        "{rows of recommender}": house / "events.csv",
    }  # fmt: skip
    return [str(values.get(part, part)) for part in command]


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("name", [*COMMANDS, *WITH_DEVICE])
def test_a_command_computes_where_the_setting_says(
    triptych_here: Run, house: Path, tiny_encoder: Path, tmp_path: Path, name: str
) -> None:
    command = {**COMMANDS, **WITH_DEVICE}[name]
    done = triptych_here(*filled(command, house, tiny_encoder, tmp_path / "out.csv"), home=house)
    assert done.stderr.splitlines()[-1:] == ["triptych: asked for cpu"], done
    assert done.returncode == 1


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("name", WITH_DEVICE)
def test_the_option_wins_over_the_setting(
    triptych_here: Run, house: Path, tiny_encoder: Path, tmp_path: Path, name: str
) -> None:
    command = filled(WITH_DEVICE[name], house, tiny_encoder, tmp_path / "out")
    done = triptych_here(*command, "--device", "cuda", home=house)
    assert done.stderr.splitlines()[-1:] == ["triptych: asked for cuda"], done


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("app", "opened"),
    [("chatbot", conversations_of), ("news", labeller_of), ("recommender", live)],
)
def test_a_page_computes_where_the_setting_says(app: str, opened: Callable[[str], object]) -> None:
    with pytest.raises(SettingsError, match=r"^asked for cpu$"):
        opened(f"{app}@1")


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(("given", "wanted"), [(None, "cpu"), ("auto", "auto")])
def test_a_recommenders_encoder_computes_where_the_setting_says(
    house: Path, given: Device | None, wanted: str
) -> None:
    folder = house / "models" / "recommender" / "1"
    with pytest.raises(SettingsError, match=rf"^asked for {wanted}$"):
        open_encoder(load_bundle(folder).encoder, folder, Home(house), device=given)


def openings() -> Iterator[tuple[str, ast.Call]]:
    """Each call of OPENERS outside the benchmarks, which compare named ways of computing."""
    for top in ("apps", "pipelines"):
        for path in sorted((ROOT / top).rglob("*.py")):
            if path.stem.startswith("benchmark_"):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                    continue
                if node.func.id in OPENERS:
                    yield f"{path.relative_to(ROOT)} line {node.lineno}: {node.func.id}", node


def test_whoever_opens_an_encoder_says_on_which_device() -> None:
    calls = list(openings())
    assert len(calls) > 15
    silent = [said for said, call in calls if "device" not in {k.arg for k in call.keywords}]
    assert silent == []
