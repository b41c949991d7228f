"""Labelled headlines for training: several files and spellings of the same three sentiments."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from apps.news_monitor.labelling import headline
from apps.news_monitor.labels import SENTIMENTS
from shared.errors import DataError
from shared.inference.classifier import Kind
from shared.intake import take_in
from shared.settings import Home
from shared.tables import Column
from shared.training.examples import SEPARATOR, Examples, from_rows

SPELLINGS = {
    "negative": "negative",
    "neg": "negative",
    "bearish": "negative",
    "neutral": "neutral",
    "neu": "neutral",
    "positive": "positive",
    "pos": "positive",
    "bullish": "positive",
}
MULTI_SHARE = 0.01
"""Above this share of texts with several topics, several are what the data mean; below it they
are slips, and every headline is taken to have one."""

Say = Callable[[str], None]


def sentiment_examples(
    paths: Sequence[Path],
    *,
    mapping: Mapping[str, str],
    spellings: Mapping[str, str],
    home: Home,
    say: Say,
) -> Examples:
    """Texts labelled negative, neutral or positive.

    mapping: text, label -> the files' names. spellings: the files' values -> ours, such as
    0 -> negative, over the words everybody uses.

    Raises DataError for a value nobody explained, or without any negative example.
    """
    known = {**SPELLINGS, **{k.strip().casefold(): v for k, v in spellings.items()}}
    wrong = sorted(set(known.values()) - set(SENTIMENTS))
    if wrong:
        raise DataError(
            f"sentiment labels are mapped to {wrong[0]!r}; allowed: {', '.join(SENTIMENTS)}"
        )
    texts: list[str] = []
    labels: list[tuple[str]] = []
    for path in paths:
        for text, cell in labelled_rows(path, mapping, home, say):
            label = known.get(cell.casefold())
            if label is None:
                raise DataError(
                    f"{path}: sentiment label {cell!r} is not known; allowed: "
                    f"{', '.join(SENTIMENTS)}, or map it, as in {cell}=negative"
                )
            texts.append(text)
            labels.append((label,))
    if ("negative",) not in labels:
        raise DataError(
            f"{', '.join(str(p) for p in paths)}: no example is labelled negative, "
            "and bad news is what the monitor looks for"
        )
    return from_rows(texts, labels, "single")


def topic_examples(
    paths: Sequence[Path], *, mapping: Mapping[str, str], home: Home, say: Say
) -> Examples:
    """Texts with their topics: rows of the same text, or topics joined by |, are several topics."""
    rows: list[tuple[str, tuple[str, ...]]] = []
    for path in paths:
        for text, cell in labelled_rows(path, mapping, home, say, empty_labels=True):
            names = tuple(part.strip() for part in cell.split(SEPARATOR) if part.strip())
            rows.append((text, names))
    kind = topics_kind(rows)
    if kind == "single":
        return from_rows([text for text, _ in rows], [names for _, names in rows], "single")
    merged: defaultdict[str, list[str]] = defaultdict(list)
    for text, names in rows:
        merged[text].extend(names)
    return from_rows(list(merged), list(merged.values()), "multi")


def topics_kind(rows: Sequence[tuple[str, tuple[str, ...]]]) -> Kind:
    """ "single" if every row has one topic and hardly any text two; else "multi"."""
    if any(len(names) != 1 for _, names in rows):
        return "multi"
    topics: defaultdict[str, set[str]] = defaultdict(set)
    for text, names in rows:
        topics[text].update(names)
    several = sum(len(names) > 1 for names in topics.values())
    return "multi" if several > MULTI_SHARE * len(topics) else "single"


def labelled_rows(
    path: Path,
    mapping: Mapping[str, str],
    home: Home,
    say: Say,
    *,
    empty_labels: bool = False,
) -> list[tuple[str, str]]:
    """(headline, label) of every usable row; the others go to the rejects folder."""
    table = take_in(
        path,
        [Column("text"), Column("label", allow_empty=empty_labels)],
        mapping={name: mapping[name] for name in ("text", "label") if name in mapping},
        rejects=home.reports / "rejects",
        say=say,
    )
    return [
        (headline(text), str(label).strip())
        for text, label in zip(table.frame["text"], table.frame["label"], strict=True)
    ]
