"""From a table of questions to a live answer, by the real command."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import yaml

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_question_gets_an_answer_with_its_reason(triptych: Run) -> None:
    done = triptych("chatbot", "ask", "I want to talk to a human please in NORGE", "--json")
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    assert reply["decision"] == "handover"
    assert reply["model"] == "chatbot@1"
    assert reply["why"] == "the customer asks for a person"
    assert reply["entities"] == [
        {
            "name": "country",
            "value": "Norway",
            "start": 36,
            "end": 41,
            "source": "listed",
            "role": "",
        }
    ]


def test_predictions_have_the_contract_columns_and_one_row_for_each_input_row(
    triptych: Run, tmp_path: Path
) -> None:
    asked = pd.DataFrame({"id": [1, 2, 3], "question": ["where is my order", "", "你好，退款"]})
    asked.to_csv(tmp_path / "in.csv", index=False)
    done = triptych(
        "predict", "chatbot", "--model", "chatbot", "--input", tmp_path / "in.csv",
        "--output", tmp_path / "out.csv", "--text-column", "question",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert list(out.columns) == [
        "text", "intent", "probability", "decision", "oos_score", "answer", "ranking",
    ]  # fmt: skip
    assert list(out["text"]) == ["where is my order", "", "你好，退款"]
    assert out["decision"].isin(["answer", "clarify", "reject", "handover"]).all()
    assert out["probability"].between(0, 1).all()
    ranking = json.loads(out["ranking"][0])
    assert ranking[0][0] == out["intent"][0]
    assert len(ranking) == 8


def test_evaluation_prints_intervals_and_writes_a_report(
    triptych: Run, inputs: Path, home: Path
) -> None:
    done = triptych(
        "evaluate", "chatbot", "--model", "chatbot", "--input", inputs / "questions.csv", "--json"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    accuracy = next(m for m in report["measures"] if m["name"] == "accuracy")
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["value"] > 0.9  # these are the rows it learned from
    assert (home / "reports" / "chatbot-1-questions" / "report.html").is_file()


def test_a_second_version_waits_until_it_is_promoted_and_can_be_rolled_back(
    triptych: Run, inputs: Path, home: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    done = triptych(
        "train", "chatbot", "--examples", inputs / "questions.csv", "--name", "chatbot",
        "--method", "frozen", "--json", home=copy,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trained = json.loads(done.stdout)
    assert (trained["version"], trained["production"]) == (2, False)

    def live() -> int:
        rows = json.loads(triptych("models", "list", "--json", home=copy).stdout)
        (version,) = [r["version"] for r in rows if r["name"] == "chatbot" and r["production"]]
        assert isinstance(version, int)
        return version

    assert live() == 1
    shadow = triptych(
        "models", "compare", "chatbot@2", "chatbot@1", "--input", inputs / "questions.csv",
        "--output", tmp_path / "shadow", home=copy,
    )  # fmt: skip
    assert shadow.returncode == 0, shadow.stderr
    assert "does not pass the gate" in shadow.stdout  # both learned from these very rows
    assert (tmp_path / "shadow" / "comparison.html").is_file()
    refused = triptych(
        "models", "promote", "chatbot", "2", "--input", inputs / "questions.csv", home=copy
    )
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("triptych: chatbot@2 stays out: intent")
    assert live() == 1
    promoted = triptych("models", "promote", "chatbot", "2", home=copy)
    assert promoted.returncode == 0, promoted.stderr
    assert "compared on the held-out rows that both reports have" in promoted.stdout
    assert live() == 2
    assert triptych("models", "rollback", "chatbot", home=copy).returncode == 0
    assert live() == 1


def test_a_changed_byte_in_a_model_folder_is_found(
    triptych: Run, home: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    weights = next((copy / "models" / "chatbot").rglob("classifier.safetensors"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)
    done = triptych("chatbot", "ask", "hello", home=copy)
    assert done.returncode == 1
    assert "classifier.safetensors" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_question_answer_tables_become_templates(triptych: Run, tmp_path: Path) -> None:
    pairs = pd.read_csv(
        Path(__file__).resolve().parents[2]
        / "data"
        / "samples"
        / "chatbot"
        / "question_answer.csv",
        keep_default_na=False,
    )
    kept = pairs["answer"].value_counts().index[:6]
    pairs = pairs[pairs["answer"].isin(kept)]
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    done = triptych(
        "train", "chatbot", "--examples", tmp_path / "pairs.csv", "--name", "pairs",
        "--method", "frozen", home=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = triptych(
        "predict", "chatbot", "--model", "pairs", "--input", tmp_path / "pairs.csv",
        "--output", tmp_path / "out.csv", "--text-column", "question", home=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert (out["answer"].to_numpy() == pairs["answer"].to_numpy()).mean() > 0.9


def test_a_bot_given_to_rasa_comes_back_with_its_questions(triptych: Run, tmp_path: Path) -> None:
    done = triptych("chatbot", "export", "--model", "chatbot", "--output", tmp_path / "rasa")
    assert done.returncode == 0, done.stderr
    done = triptych("chatbot", "import", "--rasa", tmp_path / "rasa", "--output", tmp_path / "back")
    assert done.returncode == 0, done.stderr
    back = pd.read_csv(tmp_path / "back" / "examples.csv", keep_default_na=False)
    assert back["label"].nunique() == 8
    assert len(back) > 200
    assert yaml.safe_load((tmp_path / "back" / "entities.yml").read_text()) == {
        "lookups": {"country": ["Norway", "Japan"]}, "synonyms": {"Norway": ["Norge"]},
    }  # fmt: skip


def test_dialogues_become_drafts(triptych: Run, tmp_path: Path) -> None:
    matters = {"opening hours": "We open at nine.", "gift cards": "Gift cards are valid for years."}
    lines = [
        f"Customer: tell me {begin} your {matter}\nAgent: {answer}\n"
        for begin in ("about", "more about", "all about")
        for matter, answer in matters.items()
    ]
    (tmp_path / "chats.txt").write_text("\n".join(lines))
    done = triptych(
        "chatbot", "import", "--dialogues", tmp_path / "chats.txt", "--output", tmp_path / "out",
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["files"] == [{"file": "chats.txt", "format": "transcript"}]
    assert sorted(each["answer"] for each in found["intents"]) == sorted(matters.values())
    assert (tmp_path / "out" / "report.html").is_file()
    neither = triptych("chatbot", "import", "--output", tmp_path / "out")
    assert neither.returncode == 2
    assert "give one of --dialogues, --rasa" in neither.stderr
