"""Two lists of alerts of the same period side by side: which are in both, which in one alone."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shared.errors import DataError

FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Episode:
    """An alert as it opened, or last became more severe, and when it was over (None: not yet)."""

    topic: str
    opened_at: datetime
    resolved_at: datetime | None
    severity: str
    score: float
    negative: int
    stories: int
    expected: float
    headlines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """both: pairs of A and B about the same surge."""

    both: tuple[tuple[Episode, Episode], ...]
    only_a: tuple[Episode, ...]
    only_b: tuple[Episode, ...]


def difference(a: Sequence[Episode], b: Sequence[Episode]) -> Difference:
    """Two alerts are about the same surge where both are open at the same time, for one topic.

    One to one and in order: where A saw one long surge and B two short ones, the second is in B
    alone, as its mail would be.
    """
    both, only_a, only_b = [], [], []
    topics: defaultdict[str, tuple[list[Episode], list[Episode]]] = defaultdict(lambda: ([], []))
    for side, episodes in enumerate((a, b)):
        for episode in sorted(episodes, key=lambda one: one.opened_at):
            topics[episode.topic][side].append(episode)
    for mine, theirs in topics.values():
        i = j = 0
        while i < len(mine) and j < len(theirs):
            if (mine[i].resolved_at or FOREVER) < theirs[j].opened_at:
                only_a.append(mine[i])
                i += 1
            elif (theirs[j].resolved_at or FOREVER) < mine[i].opened_at:
                only_b.append(theirs[j])
                j += 1
            else:
                both.append((mine[i], theirs[j]))
                i, j = i + 1, j + 1
        only_a += mine[i:]
        only_b += theirs[j:]
    return Difference(
        tuple(sorted(both, key=lambda pair: (pair[0].opened_at, pair[0].topic))),
        tuple(sorted(only_a, key=_when)),
        tuple(sorted(only_b, key=_when)),
    )


def _when(episode: Episode) -> tuple[datetime, str]:
    return episode.opened_at, episode.topic


def read_episodes(path: Path) -> list[Episode]:
    """The alerts.jsonl of a replay. Raises DataError where it is none."""
    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: not the alerts of a replay: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not the alerts of a replay: not UTF-8") from None
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            over = row["resolved_at"]
            found.append(
                Episode(
                    str(row["topic"]),
                    datetime.fromisoformat(row["opened_at"]),
                    None if over is None else datetime.fromisoformat(over),
                    str(row["severity"]),
                    float(row["score"]),
                    int(row["negative"]),
                    int(row["total"]),
                    float(row["expected"]),
                    tuple(map(str, row["headlines"])),
                )
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}, line {number}: not an alert of a replay ({error})") from None
    return found


def difference_lines(found: Difference, names: tuple[str, str] = ("A", "B")) -> list[str]:
    """For a terminal: counts, then the alerts of each part."""
    lines = [
        f"in both {len(found.both)}, only in {names[0]} {len(found.only_a)}, "
        f"only in {names[1]} {len(found.only_b)}"
    ]
    lines += [f"  both    {_told(one)}; {names[1]}: {_told(two)}" for one, two in found.both]
    for name, part in zip(names, (found.only_a, found.only_b), strict=True):
        lines += [f"  only {name}  {_told(one)}" for one in part]
    return lines


def _told(one: Episode) -> str:
    return (
        f"{one.opened_at:%Y-%m-%d %H:%M} {one.topic} [{one.severity}] {one.negative} of "
        f"{one.stories} negative (usual {one.expected:.1f}), score {one.score:.1f}"
    )
