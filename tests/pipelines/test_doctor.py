"""The doctor names what is wrong and what to do, and loads nothing heavy."""

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines import doctor
from pipelines.cli import app
from pipelines.doctor import FETCHED, examine, pinned
from shared.errors import ModelError, ModelNotFoundError
from shared.pretrained import NAMES, SOURCE_FILE, resolve
from shared.settings import Home


def found(folder: Path, home: Path) -> dict[str, tuple[str, str]]:
    return {f.what: (f.mark, f.found) for f in examine(Home(home), folder)}


def test_a_good_installation_has_nothing_to_mend(tmp_path: Path) -> None:
    findings = found(tmp_path, tmp_path / "home")
    assert [what for what, (mark, _) in findings.items() if mark == "!"] == []
    assert findings["packages"] == ("+", f"all {len(list(pinned()))} as pinned")
    assert findings["encoder minilm"] == ("+", "came with the installation")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[newz]\n", "triptych.toml: unknown section [newz], did you mean 'news'?"),
        ("[triptych]\nseeds = 3\n", "triptych.toml [triptych]: unknown key 'seeds'"),
        ("[news]\nfeed = []\n", "triptych.toml [news]: unknown key 'feed', did you mean 'feeds'?"),
        ("[chatbot]\nrisk = 2\n", "triptych.toml [chatbot]: risk = 2, expected a number"),
        ("[recommender]\nk = 2\n", "triptych.toml [recommender]: unknown key 'k'"),
        ("[gate]\nerror = 0.7\n", "triptych.toml [gate]: error = 0.7, expected a number"),
        ("[training]\ntracking = 'x'\n", "triptych.toml [training]: tracking = 'x', expected one"),
    ],
)
def test_a_mistake_in_the_settings_is_a_finding(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "triptych.toml").write_text(text)
    mark, line = found(tmp_path, tmp_path / "home")["settings"]
    assert mark == "!"
    assert line.startswith(message)


def test_encoders_that_can_be_fetched_are_offered_until_they_are_there(tmp_path: Path) -> None:
    cache = Home(tmp_path).cache
    assert set(FETCHED) == set(NAMES) - {"minilm"}
    with pytest.raises(ModelNotFoundError, match="triptych models fetch e5"):
        resolve("e5", cache=cache)
    mark, line = found(tmp_path, tmp_path)["encoder e5"]
    assert mark == "-"
    assert line.endswith("triptych models fetch e5")
    (cache / "encoders" / "e5").mkdir(parents=True)
    with pytest.raises(ModelNotFoundError):  # the place is right, and there is nothing in it
        resolve("e5", cache=cache)
    (cache / "encoders" / "e5" / SOURCE_FILE).write_text("{}")
    with pytest.raises(ModelError, match="not readable"):
        resolve("e5", cache=cache)
    assert found(tmp_path, tmp_path)["encoder e5"][0] == "+"


def test_an_extra_that_is_absent_says_what_for_and_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(doctor.EXTRAS, "no_such_module", ("postcards", "mail"))
    assert found(tmp_path, tmp_path)["no_such_module"] == (
        "-",
        "absent, needed only for postcards: pip install 'triptych[mail]'",
    )


def test_every_extra_it_names_can_be_installed() -> None:
    offered = tomllib.loads(doctor.PYPROJECT.read_text())["project"]["optional-dependencies"]
    assert {extra for _, extra in doctor.EXTRAS.values()} <= set(offered)


def test_the_command_explains_its_marks_and_counts_what_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path)])
    assert good.exit_code == 0
    assert "! to be mended" in good.output
    assert good.output.splitlines()[-1] == "Nothing to mend. Next: triptych demo"
    (tmp_path / "triptych.toml").write_text("[newz]\n")
    bad = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path)])
    assert bad.exit_code == 1
    assert bad.output.splitlines()[-1] == "1 to be mended"
