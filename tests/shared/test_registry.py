"""Versions appear whole, are verified at every use, and can be taken back."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.errors import ModelError, ModelNotFoundError
from shared.registry import Registry

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
Publish = Callable[..., int]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models", lambda: NOW)


@pytest.fixture
def publish(registry: Registry, tmp_path: Path) -> Publish:
    def run(name: str = "shop", app: str = "chatbot", content: str = "weights") -> int:
        folder = tmp_path / "work"
        (folder / "inner").mkdir(parents=True)
        (folder / "model.safetensors").write_text(content)
        (folder / "inner" / "config.json").write_text("{}")
        return registry.publish(name, folder, app=app, metrics={"accuracy": 0.9}).version

    return run


def test_the_first_version_is_live_and_later_ones_wait(
    registry: Registry, publish: Publish
) -> None:
    assert (publish(), publish(), publish()) == (1, 2, 3)
    assert [v.production for v in registry.versions("shop")] == [True, False, False]
    first = registry.resolve("shop")
    assert (first.version, first.app, first.created_at) == (1, "chatbot", NOW)
    assert first.metrics == {"accuracy": 0.9}
    assert (first.path / "inner" / "config.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("reference", "version"),
    [("shop", 2), ("shop@production", 2), ("shop@latest", 3), ("shop@1", 1)],
)
def test_a_reference_says_which_version(
    registry: Registry, publish: Publish, reference: str, version: int
) -> None:
    for _ in range(3):
        publish()
    registry.promote("shop", 2, "better on refunds")
    assert registry.resolve(reference).version == version


def test_versions_of_an_application_are_listed_newest_first(
    registry: Registry, publish: Publish
) -> None:
    for name, app in (("b", "news"), ("a", "news"), ("a", "news"), ("c", "chatbot")):
        publish(name, app=app)
    assert [version.title for version in registry.versions_of("news")] == [
        "a@2",
        "a@1 (live)",
        "b@1 (live)",
    ]
    assert registry.versions_of("recommender") == []


def test_rollback_goes_to_the_version_that_was_live_before(
    registry: Registry, publish: Publish
) -> None:
    for _ in range(3):
        publish()
    registry.promote("shop", 3)
    registry.promote("shop", 2)
    assert registry.rollback("shop").version == 3
    assert registry.rollback("shop").version == 1
    with pytest.raises(ModelError) as caught:
        registry.rollback("shop")
    assert str(caught.value) == "shop: nothing to go back to, no other version was ever live"


def test_a_rollback_is_on_record_beside_the_promotion_that_it_took_back(
    registry: Registry, publish: Publish, tmp_path: Path
) -> None:
    publish()
    publish()
    registry.promote("shop", 2, "passed the gate")
    later = Registry(tmp_path / "models", lambda: NOW + timedelta(days=1))
    assert later.rollback("shop", "worse on refunds").withdrawn is None
    assert registry.history("shop") == [
        {"version": 1, "at": NOW.isoformat(), "reason": "first version"},
        {"version": 2, "at": NOW.isoformat(), "reason": "passed the gate"},
        {
            "version": 1,
            "at": (NOW + timedelta(days=1)).isoformat(),
            "reason": "rolled back from 2: worse on refunds",
            "rolled_back": 2,
        },
    ]
    first, second = registry.versions("shop")
    assert (first.production, first.withdrawn) == (True, None)
    assert (second.production, second.withdrawn) == (False, NOW + timedelta(days=1))
    registry.promote("shop", 2)
    assert registry.resolve("shop@2").withdrawn is None  # live again


def test_what_was_withdrawn_is_not_gone_back_to(registry: Registry, publish: Publish) -> None:
    for _ in range(4):
        publish()
    registry.promote("shop", 2)
    registry.promote("shop", 3)
    registry.rollback("shop")
    registry.promote("shop", 4)
    assert registry.rollback("shop").version == 2
    assert registry.rollback("shop").version == 1
    with pytest.raises(ModelError, match="nothing to go back to"):
        registry.rollback("shop")
    assert [entry["version"] for entry in registry.history("shop")] == [1, 2, 3, 2, 4, 2, 1]
    assert [v.version for v in registry.versions("shop") if v.withdrawn] == [2, 3, 4]


def test_a_history_from_before_rollbacks_were_recorded_is_read(
    registry: Registry, publish: Publish, tmp_path: Path
) -> None:
    for _ in range(3):
        publish()
    # 2 was promoted and taken back, which struck it off; then 3 went live.
    entries = [{"version": n, "at": NOW.isoformat(), "reason": ""} for n in (1, 3)]
    written = {"production": 3, "history": entries}
    (tmp_path / "models" / "shop" / "aliases.json").write_text(json.dumps(written))
    assert registry.history("shop") == entries
    assert [(v.production, v.withdrawn) for v in registry.versions("shop")] == [
        (False, None),
        (False, None),
        (True, None),
    ]
    assert registry.rollback("shop").version == 1
    assert registry.history("shop")[:2] == entries


def change(path: Path) -> None:
    (path / "model.safetensors").write_text("weighty")


def lose(path: Path) -> None:
    (path / "inner" / "config.json").unlink()


def add(path: Path) -> None:
    (path / "more.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change, "model.safetensors has changed since it was published"),
        (lose, "inner/config.json is missing"),
        (add, "more.json was added after it was published"),
    ],
)
def test_every_damage_is_found_and_named(
    registry: Registry, publish: Publish, damage: Callable[[Path], None], message: str
) -> None:
    publish()
    damage(registry.resolve("shop").path)
    with pytest.raises(ModelError, match=message):
        registry.resolve("shop")
    assert [v.version for v in registry.versions("shop")] == [1]


def test_a_broken_version_is_not_promoted(registry: Registry, publish: Publish) -> None:
    publish()
    publish()
    change(registry.resolve("shop@2").path)
    with pytest.raises(ModelError, match="has changed"):
        registry.promote("shop", 2)
    assert registry.resolve("shop").version == 1


@pytest.mark.parametrize("bad", ["weights.pkl", "model.PT", "run.py"])
def test_files_that_can_hold_code_are_refused(registry: Registry, tmp_path: Path, bad: str) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / bad).write_text("x")
    with pytest.raises(ModelError, match="can hold code"):
        registry.publish("shop", folder, app="chatbot", metrics={})
    assert registry.names() == []


def test_a_link_is_refused(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to("/etc/hostname")
    with pytest.raises(ModelError, match="a link; a model folder holds the files themselves"):
        registry.publish("shop", folder, app="chatbot", metrics={})


def test_a_name_belongs_to_one_application(publish: Publish) -> None:
    publish("shop", "chatbot")
    with pytest.raises(ModelError) as caught:
        publish("shop", "news")
    assert str(caught.value) == (
        "shop is already the name of a model for chatbot; choose another name"
    )


def test_a_model_of_another_application_is_refused(registry: Registry, publish: Publish) -> None:
    publish("shop", "chatbot")
    with pytest.raises(ModelError) as caught:
        registry.resolve("shop", app="news")
    assert str(caught.value) == (
        "shop@1 is a model for chatbot, not for news; models for news: none"
    )


@pytest.mark.parametrize("reference", ["shop@9", "shop@", "nosuch", "../etc", "shop@x"])
def test_what_is_not_there_says_what_is(
    registry: Registry, publish: Publish, reference: str
) -> None:
    publish()
    if reference == "shop@":
        assert registry.resolve(reference).version == 1
        return
    with pytest.raises(ModelNotFoundError, match=r"known: shop|has the versions 1"):
        registry.resolve(reference)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", "x" * 65])
def test_names_cannot_leave_the_folder(registry: Registry, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="is no model name"):
        registry.publish(name, tmp_path, app="chatbot", metrics={})


def test_a_killed_publisher_leaves_nothing_visible_and_the_next_one_sweeps(
    registry: Registry, publish: Publish, tmp_path: Path
) -> None:
    publish()
    program = (
        "import os, sys, signal\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from shared import registry\n"
        "def die(*args): os.kill(os.getpid(), signal.SIGKILL)\n"
        "registry.write_text = die\n"
        "folder = Path(sys.argv[1]) / 'torn'; folder.mkdir(); (folder / 'a.json').write_text('1')\n"
        "r = registry.Registry(Path(sys.argv[1]) / 'models', lambda: datetime.now(UTC))\n"
        "r.publish('shop', folder, app='chatbot', metrics={})\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    home = tmp_path / "models" / "shop"
    assert list(home.glob(".incoming-*"))
    assert [v.version for v in registry.versions("shop")] == [1]
    assert publish() == 2
    assert not list(home.glob(".incoming-*"))


def test_publishers_at_the_same_time_get_versions_of_their_own(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from shared.registry import Registry\n"
        "r = Registry(Path(sys.argv[1]) / 'models', lambda: datetime.now(UTC))\n"
        "for n in range(5):\n"
        "    folder = Path(sys.argv[1]) / f'{sys.argv[2]}-{n}'; folder.mkdir()\n"
        "    (folder / 'a.json').write_text('1')\n"
        "    r.publish('shop', folder, app='chatbot', metrics={})\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), who]) for who in ("a", "b")
    ]
    assert [process.wait() for process in both] == [0, 0]
    versions = Registry(tmp_path / "models", lambda: NOW).versions("shop")
    assert [v.version for v in versions] == list(range(1, 11))


def test_a_name_that_could_not_be_published_is_refused_before_training(
    registry: Registry, publish: Publish
) -> None:
    publish("shop", "chatbot")
    registry.check_name("shop", "chatbot")
    registry.check_name("new", "news")
    with pytest.raises(ModelError, match="shop is already the name of a model for chatbot"):
        registry.check_name("shop", "news")
    with pytest.raises(ModelError, match=r"'\.\./x' is no model name"):
        registry.check_name("../x", "chatbot")
