"""The scripted part of the stream: publishers, crises and controls."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

_LINE = re.compile(
    r"(?P<hour>\d\d):(?P<minute>\d\d) (?P<publisher>\w+) (?P<sign>[-0+]) "
    r"(?:x(?P<copies>\d+) )?(?P<title>.+)"
)
_SECOND = re.compile(r"\s+\[\+([^\]]+)\]$")
_INSTEAD = re.compile(r"\s+\{([^}]+)\}$")
_SIGNS = {"-": "negative", "0": "neutral", "+": "positive"}


@dataclass(frozen=True)
class Publisher:
    """A publisher: how it writes, how much, when, and what its feed is like."""

    key: str
    name: str
    register: str
    host: str
    weight: float
    copies: float
    weekend: float
    hours: tuple[float, ...]
    feed_file: str
    flavour: str


@dataclass(frozen=True)
class ScriptedStory:
    """A story of a crisis or control. `copies` None: drawn like an ordinary story's, but more."""

    at: datetime
    publisher: str
    sentiment: str
    copies: int | None
    title: str
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Episode:
    """A crisis, or a control that looks like one and must not raise an alert."""

    key: str
    name: str
    kind: str
    topic: str
    begin: datetime
    end: datetime
    size: str
    should_alert: bool
    expected: str
    stories: tuple[ScriptedStory, ...]
    summaries: tuple[str, ...]
    silent: tuple[str, ...]
    quiet: float


def load_publishers(path: Path) -> dict[str, Publisher]:
    raw = yaml.safe_load(path.read_text("utf-8"))
    return {
        key: Publisher(
            key=key,
            name=spec["name"],
            register=spec["register"],
            host=spec["host"],
            weight=spec["weight"],
            copies=spec["copies"],
            weekend=spec["weekend"],
            hours=tuple(float(h) for h in spec["hours"]),
            feed_file=spec["feed"]["file"],
            flavour=spec["feed"]["flavour"],
        )
        for key, spec in raw.items()
    }


def load_episodes(path: Path) -> list[Episode]:
    return [_episode(spec) for spec in yaml.safe_load(path.read_text("utf-8"))]


def _episode(spec: Mapping[str, object]) -> Episode:
    begin = _time(spec["from"])
    days = spec.get("days", [])
    assert isinstance(days, list)
    topics = [str(spec["topic"])]
    if "second_topic" in spec:
        topics.append(str(spec["second_topic"]))
    stories = tuple(
        _story(line, begin + timedelta(days=number), tuple(topics))
        for number, block in enumerate(days)
        for line in block.strip().splitlines()
    )
    end = _time(spec["to"]) if "to" in spec else begin + timedelta(days=len(days))
    silent = spec.get("publishers", [])
    assert isinstance(silent, list)
    return Episode(
        key=str(spec["id"]),
        name=str(spec["name"]),
        kind=str(spec["kind"]),
        topic="|".join(topics),
        begin=begin,
        end=end,
        size=str(spec["size"]),
        should_alert=bool(spec["should_alert"]),
        expected=str(spec["expected"]),
        stories=stories,
        summaries=tuple(str(spec.get("summaries", "")).splitlines()),
        silent=tuple(str(key) for key in silent),
        quiet=float(str(spec.get("quiet", 1.0))),
    )


def _time(value: object) -> datetime:
    """YAML reads a bare day as a date and `2025-04-01T09:00` as text; both are meant in UTC."""
    return datetime.fromisoformat(str(value)).replace(tzinfo=UTC)


def _story(line: str, day: datetime, topics: tuple[str, ...]) -> ScriptedStory:
    found = _LINE.fullmatch(line.strip())
    if found is None:
        raise ValueError(f"crises.yaml: cannot read {line!r}")
    title = found["title"]
    if (second := _SECOND.search(title)) is not None:
        topics, title = (topics[0], second[1]), title[: second.start()]
    if (instead := _INSTEAD.search(title)) is not None:
        topics, title = (instead[1],), title[: instead.start()]
    return ScriptedStory(
        at=day + timedelta(hours=int(found["hour"]), minutes=int(found["minute"])),
        publisher=found["publisher"],
        sentiment=_SIGNS[found["sign"]],
        copies=int(found["copies"]) if found["copies"] else None,
        title=title,
        topics=topics,
    )
