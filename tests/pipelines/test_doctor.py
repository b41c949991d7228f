"""The doctor names what is wrong and what to do, and loads nothing heavy."""

from pathlib import Path

import pytest

from pipelines.doctor import examine, pinned
from shared.settings import Home


def found(folder: Path, home: Path) -> dict[str, tuple[str, str]]:
    return {f.what: (f.mark, f.found) for f in examine(Home(home), folder)}


def test_a_good_installation_has_nothing_to_mend(tmp_path: Path) -> None:
    findings = found(tmp_path, tmp_path / "home")
    assert [what for what, (mark, _) in findings.items() if mark == "!"] == []
    assert findings["packages"] == ("+", f"all {len(list(pinned()))} as pinned")
    assert findings["encoder minilm"] == ("+", "packaged")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[newz]\n", "triptych.toml: unknown section [newz], did you mean 'news'?"),
        ("[triptych]\nseeds = 3\n", "triptych.toml [triptych]: unknown key 'seeds'"),
    ],
)
def test_a_mistake_in_the_settings_is_a_finding(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "triptych.toml").write_text(text)
    mark, line = found(tmp_path, tmp_path / "home")["settings"]
    assert mark == "!"
    assert line.startswith(message)
