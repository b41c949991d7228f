"""Mistakes a user can make: each gets one clear line and its exit code, and nothing is lost."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def train(examples: Path) -> tuple[str | Path, ...]:
    return ("train", "chatbot", "--examples", examples, "--name", "bad", "--method", "frozen")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (None, ["questions.csv", "no such file"]),
        ("", ["questions.csv"]),
        ("question_text,intent\nhello,a\n", ["text", "question_text", "--text-column"]),
        ("text,label\nhello,a\nbye,a\n", ["only the label 'a'", "at least 2"]),
        ("text,label\n,a\n,b\n", ["questions.csv"]),
    ],
)
def test_a_table_that_cannot_be_trained_on(
    triptych_here: Run, tmp_path: Path, content: str | None, parts: list[str]
) -> None:
    path = tmp_path / "questions.csv"
    if content is not None:
        path.write_text(content)
    done = triptych_here(*train(path), home=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("triptych: ")
    for part in parts:
        assert part in line
    assert not (tmp_path / "models" / "bad").exists()


def test_bad_rows_are_listed_with_their_line_and_the_rest_is_used(
    triptych_here: Run, inputs: Path, tmp_path: Path
) -> None:
    lines = (inputs / "questions.csv").read_text(encoding="utf-8").splitlines()
    kept = lines[:121]
    path = tmp_path / "questions.csv"
    path.write_text("\n".join([*kept, ",track", "no label here,"]) + "\n", encoding="utf-8")
    done = triptych_here(*train(path), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 of 122 rows rejected" in done.stdout
    (rejects,) = tmp_path.rglob("*rejects*.csv")
    text = rejects.read_text(encoding="utf-8")
    assert "\n122," in text
    assert "\n123," in text


def test_an_unknown_model_is_named_with_what_there_is(triptych: Run) -> None:
    done = triptych("chatbot", "ask", "hello", "--model", "nosuch")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "nosuch" in line
    assert "chatbot" in line


def test_a_model_of_another_application_is_refused(triptych: Run) -> None:
    done = triptych("chatbot", "ask", "hello", "--model", "news")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "news" in line


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("desk", "not 'desk'"),
        ("", "not ''"),
        ("a@bank.example, b@bank.example", "not 'a@bank.example, b@bank.example'"),
        (
            "desk@bänk.example",
            "not 'desk@bänk.example'; write its domain as it is registered, xn--...",
        ),
    ],
)
def test_a_test_mail_to_no_address_is_refused_as_the_settings_refuse_it(
    triptych_here: Run, tmp_path: Path, address: str, said: str
) -> None:
    done = triptych_here("news", "test-mail", "--to", address, home=tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        f"triptych: --to: expected mail addresses such as desk@bank.example, {said}\n",
    )
    assert list(tmp_path.rglob("*.eml")) == []


def test_a_test_mail_goes_to_the_address_that_was_named(triptych_here: Run, tmp_path: Path) -> None:
    done = triptych_here("news", "test-mail", "--to", "desk@bank.example", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "test mail to desk@bank.example handed to " in done.stdout
    assert len(list(tmp_path.rglob("*.eml"))) == 1


@pytest.mark.parametrize(
    "arguments",
    [("train", "chatbot"), ("recommend", "-k", "0", "--output", "x.parquet"), ("nonsense",)],
)
def test_wrong_usage_is_exit_code_2(triptych: Run, arguments: tuple[str, ...]) -> None:
    done = triptych(*arguments)
    assert done.returncode == 2
    assert "Usage" in done.stderr
