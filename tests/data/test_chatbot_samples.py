"""The chatbot sample is what its card promises, and its generator makes it again byte for byte."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.svm import LinearSVC

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"
CHATBOT = SAMPLES / "chatbot"
SPLITS = (("examples.csv", "validation.csv"), ("examples_zh.csv", "validation_zh.csv"))
SLOT = re.compile(r"\{(.*?)\}")


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(CHATBOT / name, dtype=str, keep_default_na=False)


def dialogues() -> list[dict[str, Any]]:
    text = (CHATBOT / "dialogues.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def answers() -> list[dict[str, Any]]:
    content = yaml.safe_load((CHATBOT / "answers.yml").read_text(encoding="utf-8"))
    return list(content["answers"])


def masked(text: str) -> str:
    """The text without what noise changes: small letters and Chinese characters, numbers as 0."""
    return re.sub(r"[^\w]+", " ", re.sub(r"\d+", "0", text.lower())).strip()


def trigram_jaccard(texts: list[str]) -> NDArray[np.float64]:
    """Similarity of each pair by character 3-grams, (n, n), zero on the diagonal."""
    vectorizer = CountVectorizer(analyzer="char", ngram_range=(3, 3), binary=True, dtype=np.int32)
    grams = vectorizer.fit_transform(f"  {text}  " for text in texts)
    shared = (grams @ grams.T).toarray()  # (n, n)
    sizes = shared.diagonal()
    result: NDArray[np.float64] = shared / (sizes[:, None] + sizes[None, :] - shared)
    np.fill_diagonal(result, 0.0)
    return result


def test_making_the_sample_again_gives_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, str(SAMPLES / "make_chatbot.py"), "--output", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)

    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {p.name: p.read_bytes() for p in CHATBOT.iterdir() if p.name != "README.md"}
    assert sorted(made) == sorted(kept)
    assert [name for name in made if made[name] != kept[name]] == []


def test_another_seed_gives_other_questions_of_the_same_intents(tmp_path: Path) -> None:
    command = [sys.executable, str(SAMPLES / "make_chatbot.py"), "--output", str(tmp_path)]
    subprocess.run([*command, "--seed", "14"], check=True, capture_output=True)

    other = pd.read_csv(tmp_path / "examples.csv", dtype=str)
    ours = table("examples.csv")
    assert set(other["label"]) == set(ours["label"])
    assert len(set(other["text"]) & set(ours["text"])) < len(ours) / 2


def test_the_card_states_rows_and_columns_of_every_file() -> None:
    card = (CHATBOT / "README.md").read_text(encoding="utf-8")
    stated = {}
    for name, rows, columns in re.findall(r"^\| (\S+) \| (\d+) \| (.*?) \|", card, re.MULTILINE):
        stated[name] = (int(rows), columns.split(", "))

    actual = {}
    for path in CHATBOT.glob("*.csv"):
        frame = table(path.name)
        actual[path.name] = (len(frame), list(frame.columns))
    actual["dialogues.jsonl"] = (len(dialogues()), stated["dialogues.jsonl"][1])
    actual["answers.yml"] = (len(answers()), stated["answers.yml"][1])
    assert stated == actual
    assert all(set(stated["dialogues.jsonl"][1]) == set(record) for record in dialogues())
    assert "**Everything here is invented.**" in card


def test_there_are_enough_intents_and_differently_worded_questions() -> None:
    english = pd.concat([table("examples.csv"), table("validation.csv")])
    sizes = english["label"].value_counts()
    assert len(sizes) >= 45
    assert sizes.min() >= 12
    assert sizes.max() >= 3 * sizes.min()
    assert len({masked(text) for text in english["text"]}) >= 1400
    assert len(table("examples.csv")) >= 1400


def test_there_is_a_chinese_part_of_the_same_intents() -> None:
    chinese = pd.concat([table("examples_zh.csv"), table("validation_zh.csv")])
    sizes = chinese["label"].value_counts()
    assert len(sizes) >= 12
    assert sizes.min() >= 12
    assert len(chinese) >= 200
    assert set(sizes.index) <= set(table("examples.csv")["label"])
    assert chinese["text"].str.contains(r"[\u4e00-\u9fff]").all()


@pytest.mark.parametrize(("training", "validation"), SPLITS)
def test_every_label_is_in_both_parts_and_no_message_is(training: str, validation: str) -> None:
    learnt, held_out = table(training), table(validation)
    assert set(held_out["label"]) == set(learnt["label"])
    assert 0.12 <= len(held_out) / (len(learnt) + len(held_out)) <= 0.2

    keys = [masked(text) for text in [*learnt["text"], *held_out["text"]]]
    assert set(keys[: len(learnt)]) & set(keys[len(learnt) :]) == set()
    both = pd.concat([learnt, held_out])
    assert not both["text"].duplicated().any()
    assert not any("{" in text or "}" in text for text in both["text"])


def test_few_questions_are_nearly_alike_and_none_across_the_split() -> None:
    learnt, held_out = table("examples.csv")["text"], table("validation.csv")["text"]
    alike = trigram_jaccard([*learnt, *held_out]) > 0.8
    assert alike.any(axis=1).mean() < 0.15
    assert not alike[: len(learnt), len(learnt) :].any()


def test_the_questions_are_neither_too_easy_nor_hopeless_for_a_bag_of_words() -> None:
    learnt, held_out = table("examples.csv"), table("validation.csv")
    vectorizer = TfidfVectorizer()
    model = LinearSVC(random_state=0).fit(vectorizer.fit_transform(learnt["text"]), learnt["label"])
    right = model.predict(vectorizer.transform(held_out["text"])) == held_out["label"]
    assert 0.70 <= right.mean() <= 0.92


def test_messages_out_of_scope_are_many_of_both_kinds_and_never_in_scope() -> None:
    learnt, held_out = table("out_of_scope.csv"), table("out_of_scope_validation.csv")
    assert len(learnt) >= 150
    assert min(learnt["kind"].value_counts()[["far", "near"]]) >= 60
    assert set(held_out["kind"]) == {"far", "near"}
    texts = [masked(t) for t in [*learnt["text"], *held_out["text"]]]
    assert len(set(texts)) == len(texts)
    in_scope = {masked(t) for name in SPLITS[0] for t in table(name)["text"]}
    assert in_scope & set(texts) == set()


def test_must_pass_cases_have_known_labels_and_are_in_no_other_part() -> None:
    cases = table("must_pass.csv")
    assert len(cases) == 30
    assert cases["label"].is_unique
    assert set(cases["label"]) <= set(table("examples.csv")["label"])
    seen = {masked(t) for pair in SPLITS for name in pair for t in table(name)["text"]}
    assert seen & {masked(text) for text in cases["text"]} == set()


def test_every_intent_has_answers_and_every_answer_an_intent() -> None:
    frame = table("answers.csv")
    for language, examples in (("en", "examples.csv"), ("zh", "examples_zh.csv")):
        labels = frame.loc[frame["language"] == language, "label"]
        assert set(labels) == set(table(examples)["label"])
        assert labels.value_counts().min() >= 2
    assert frame.groupby(["label", "language"])["title"].nunique().max() == 1
    assert not frame["answer"].duplicated().any()


def test_both_answer_files_say_the_same() -> None:
    by_intent = [
        (text, entry["label"], language)
        for entry in answers()
        for language, several in entry["texts"].items()
        for text in several
    ]
    frame = table("answers.csv")
    assert by_intent == list(zip(frame["answer"], frame["label"], frame["language"], strict=True))


def test_templates_use_only_slots_of_the_card_and_each_intent_can_answer_without_any() -> None:
    card = (CHATBOT / "README.md").read_text(encoding="utf-8")
    section = card.partition("## Slots of the answers")[2].partition("##")[0]
    listed = set(re.findall(r"^\| ([a-z_]+) \|", section, re.MULTILINE)) - {"slot"}

    used: set[str] = set()
    for entry in answers():
        for variants in entry["texts"].values():
            found = {name for text in variants for name in SLOT.findall(text)}
            assert found <= set(entry["slots"])
            used |= found
            needed = [SLOT.findall(re.sub(r"\[\[.*?\]\]", "", text)) for text in variants]
            assert [] in needed, entry["label"]
    assert used == listed


def test_question_answer_pairs_repeat_their_answers_word_for_word() -> None:
    frame = table("question_answer.csv")
    assert len(frame) >= 400
    assert frame["answer"].nunique() >= 40
    assert frame["answer"].value_counts().min() >= 8
    assert not frame["question"].duplicated().any()
    assert set(frame["answer"].map(len) > 30) == {True}


def test_dialogues_are_complete_and_in_order() -> None:
    records = dialogues()
    assert len(records) >= 170
    assert [record["dialog_id"] for record in records] == [
        f"D{number:04}" for number in range(1, len(records) + 1)
    ]
    for record in records:
        times = [turn["at"] for turn in record["turns"]]
        assert times == sorted(times)
        assert record["started_at"] == times[0]
        assert {turn["speaker"] for turn in record["turns"]} == {"customer", "agent"}
        assert record["turns"][0]["speaker"] == "customer"
        assert record["resolved"] == (record["status"] == "resolved")
        assert not any(re.search(r"[{}]", turn["text"]) for turn in record["turns"])


def test_dialogues_vary_in_language_channel_agent_and_end() -> None:
    records = dialogues()
    assert sum(record["language"] == "zh" for record in records) >= 20
    assert set(Counter(record["channel"] for record in records)) == {"chat", "app", "email"}
    by_agent = Counter(record["agent"] for record in records if record["language"] == "en")
    assert len(by_agent) == 4
    assert min(by_agent.values()) >= 20
    status = Counter(record["status"] for record in records)
    assert min(status[name] for name in ("resolved", "unresolved", "transferred")) >= 15
    assert len({len(record["turns"]) for record in records}) >= 8
    openings = {masked(record["turns"][0]["text"]) for record in records}
    assert len(openings) >= 0.6 * len(records)


def test_dialogue_labels_point_at_turns_of_the_right_speaker() -> None:
    speakers = {
        (record["dialog_id"], str(number)): turn["speaker"]
        for record in dialogues()
        for number, turn in enumerate(record["turns"])
    }
    marks = table("dialogue_labels.csv")
    expected = {"question": "customer", "answer": "agent"}
    for _, mark in marks.iterrows():
        assert speakers[mark["dialog_id"], mark["turn"]] == expected[mark["role"]]
    labels = set(marks["label"])
    assert labels <= set(table("examples.csv")["label"])
    assert len(labels) >= 40
    questions = marks[marks["role"] == "question"].groupby("dialog_id").size()
    assert len(questions) == len(dialogues())
    assert (questions > 1).sum() >= 25


def test_personal_data_are_invented_ones() -> None:
    everything = "\n".join(
        path.read_text(encoding="utf-8") for path in CHATBOT.iterdir() if path.suffix != ".md"
    )
    domains = set(re.findall(r"@([a-z.-]+[a-z])", everything))
    assert domains == {"example.com", "example.org", "example.net"}
    phones = re.findall(r"555[- ](\d{4})", everything)
    assert phones
    assert all(number.startswith("01") for number in phones)
