"""Write data/samples/chatbot: questions, answers and dialogues of an invented shop and its account.

Everything comes from the wordings in data/samples/source/chatbot; the seed decides which go to
validation, which slips and values they get and how dialogues are put together. Same seed, same
source: the same bytes.

    python data/samples/make_chatbot.py [--output DIR] [--seed N]
"""

import argparse
import csv
import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import yaml
from chatbot_dialogues import Dialogue, make_dialogues, read_flows
from chatbot_patterns import dissimilar
from chatbot_questions import Parts, chinese_parts, english_parts, key, lines
from chatbot_wording import careless, misspell

_HERE = Path(__file__).resolve().parent
_QUESTION_FILES = ("delivery", "returns", "shop", "payment", "account", "long")
_FLOW_FILES = ("orders", "returns", "account", "zh")
# Out-of-scope messages kept for validation, of each kind.
_HELD_OUT_OF_SCOPE = 0.2
# Ordinary wordings for each one written singly, and how alike two of them may be (3-gram Jaccard).
_COMMON, _MOST_ALIKE = 1.2, 0.7
_SLOT = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Source:
    """The authored wordings: label -> wordings, in the order of the files.

    common: label -> patterns of ordinary sentences.
    """

    english: Mapping[str, tuple[str, ...]]
    common: Mapping[str, tuple[str, ...]]
    chinese: Mapping[str, tuple[str, ...]]
    answers: Mapping[str, Mapping[str, Any]]
    must_pass: Mapping[str, str]
    out_of_scope: Mapping[str, tuple[str, ...]]
    product_help: Sequence[Mapping[str, str]]
    lexicon: Mapping[str, Any]
    agents: Mapping[str, Any]
    flows: Mapping[str, Mapping[str, Any]]


def read_source(folder: Path) -> Source:
    """Read the authored files."""

    def load(name: str) -> Any:
        return yaml.safe_load((folder / f"{name}.yml").read_text(encoding="utf-8"))

    english: dict[str, tuple[str, ...]] = {}
    for name in _QUESTION_FILES:
        for label, entry in load(f"questions_{name}").items():
            english[label] = english.get(label, ()) + lines(entry["en"])
    flows: dict[str, Mapping[str, Any]] = {}
    for name in _FLOW_FILES:
        flows |= load(f"flows_{name}")
    return Source(
        english=english,
        common={label: lines(block) for label, block in load("questions_common").items()},
        chinese={label: lines(entry["zh"]) for label, entry in load("questions_zh").items()},
        answers=load("answers"),
        must_pass=load("must_pass"),
        out_of_scope={kind: lines(block) for kind, block in load("out_of_scope").items()},
        product_help=load("product_help"),
        lexicon=load("lexicon"),
        agents=load("agents"),
        flows=flows,
    )


def with_common(source: Source, seed: int) -> dict[str, list[str]]:
    """Label -> the wordings written singly and the ordinary ones, in proportion."""
    wordings = {}
    for label, single in source.english.items():
        rng = random.Random(f"{seed}/common/{label}")
        wanted = round(_COMMON * len(single))
        patterns = source.common[label]
        common = dissimilar(patterns, wanted, rng, most=_MOST_ALIKE, apart_from=single)
        wordings[label] = [*single, *common]
    return wordings


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_parts(parts: Parts, output: Path, suffix: str = "") -> None:
    for name, rows in (("examples", parts.training), ("validation", parts.validation)):
        write_csv(
            output / f"{name}{suffix}.csv", ("text", "label"), ((r.text, r.label) for r in rows)
        )


def write_answers(answers: Mapping[str, Mapping[str, Any]], output: Path) -> None:
    """answers.csv has one row for each variant; answers.yml has categories and slots as well."""
    rows: list[tuple[str, str, str, str]] = []
    entries: list[dict[str, Any]] = []
    for label, entry in answers.items():
        texts = {language: entry[language] for language in ("en", "zh") if language in entry}
        titles = {"en": entry["title"], "zh": entry.get("title_zh", entry["title"])}
        for language, variants in texts.items():
            rows += [(variant, label, titles[language], language) for variant in variants]
        slots = sorted({name for several in texts.values() for text in several
                        for name in _SLOT.findall(text)})  # fmt: skip
        named = {name: entry[name] for name in ("title", "title_zh", "category") if name in entry}
        entries.append({"label": label, **named, "slots": slots, "texts": texts})
    write_csv(output / "answers.csv", ("answer", "label", "title", "language"), rows)
    layout: dict[str, Any] = {"allow_unicode": True, "sort_keys": False, "width": 10**6}
    text = yaml.safe_dump({"answers": entries}, default_flow_style=None, **layout)
    (output / "answers.yml").write_text(text, encoding="utf-8")


def write_out_of_scope(texts: Mapping[str, tuple[str, ...]], output: Path, seed: int) -> None:
    """Training and validation part of the English messages; the Chinese ones in one file."""
    training: list[tuple[str, str]] = []
    validation: list[tuple[str, str]] = []
    rng = random.Random(f"{seed}/out_of_scope")
    for kind in ("far", "near"):
        several = rng.sample(texts[kind], len(texts[kind]))
        cut = round(_HELD_OUT_OF_SCOPE * len(several))
        validation += [(text, kind) for text in several[:cut]]
        training += [(text, kind) for text in several[cut:]]
    header = ("text", "kind")
    write_csv(output / "out_of_scope.csv", header, rng.sample(training, len(training)))
    shuffled = rng.sample(validation, len(validation))
    write_csv(output / "out_of_scope_validation.csv", header, shuffled)
    write_csv(output / "out_of_scope_zh.csv", ("text",), ((text,) for text in texts["zh"]))


def write_product_help(entries: Sequence[Mapping[str, str]], output: Path, seed: int) -> None:
    rng = random.Random(f"{seed}/product_help")
    rows: list[tuple[str, str]] = []
    for entry in entries:
        for question in lines(entry["questions"]):
            roll = rng.random()
            if roll < 0.15:
                question = misspell(question, rng, most=2)
            elif roll < 0.3:
                question = careless(question)
            rows.append((question, entry["answer"]))
    write_csv(output / "question_answer.csv", ("question", "answer"), rng.sample(rows, len(rows)))


def write_dialogues(dialogues: Sequence[Dialogue], output: Path) -> None:
    """dialogues.jsonl, and dialogue_labels.csv with what an importer should find in them."""
    marks: list[tuple[str, str, str, str]] = []
    with (output / "dialogues.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for number, dialogue in enumerate(dialogues, start=1):
            name = f"D{number:04}"
            turns = [
                {"speaker": t.speaker, "text": t.text, "at": t.at.replace(tzinfo=UTC).isoformat()}
                for t in dialogue.turns
            ]
            record = {
                "dialog_id": name, "channel": dialogue.channel, "language": dialogue.language,
                "agent": dialogue.agent, "started_at": turns[0]["at"], "turns": turns,
                "resolved": dialogue.status == "resolved", "status": dialogue.status,
            }  # fmt: skip
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            marks += [(name, str(turn), role, label) for turn, role, label in dialogue.marks]
    write_csv(output / "dialogue_labels.csv", ("dialog_id", "turn", "role", "label"), marks)


def make(output: Path, seed: int) -> None:
    """Write every file of the sample but its card into `output`."""
    source = read_source(_HERE / "source" / "chatbot")
    output.mkdir(parents=True, exist_ok=True)
    taken = {key(text) for text in source.must_pass.values()}
    taken |= {key(text) for several in source.out_of_scope.values() for text in several}
    write_parts(english_parts(with_common(source, seed), source.lexicon, seed, taken), output)
    write_parts(chinese_parts(source.chinese, source.lexicon, seed, taken), output, "_zh")
    write_csv(
        output / "must_pass.csv",
        ("text", "label"),
        ((text, label) for label, text in source.must_pass.items()),
    )
    write_answers(source.answers, output)
    write_out_of_scope(source.out_of_scope, output, seed)
    write_product_help(source.product_help, output, seed)
    flows = list(read_flows(source.flows, set(source.english)))
    write_dialogues(make_dialogues(flows, source.agents, source.lexicon, seed), output)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the chatbot sample data.")
    parser.add_argument("--output", type=Path, default=_HERE / "chatbot", metavar="DIR")
    parser.add_argument("--seed", type=int, default=13)
    arguments = parser.parse_args()
    make(arguments.output, arguments.seed)
    print(f"written: {arguments.output}")


if __name__ == "__main__":
    main()
