"""What was decided about each topic at each moment judged, and by what: "why no alert?".

Two tables answer it. An evaluation is one window of one topic at one moment with its figures and
the gate that stopped its score; a decision is what came of all windows together: held back, waiting
for a second look, told already, or told.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from apps.news_monitor.coverage import Coverage
from apps.news_monitor.episodes import Change, Episodes, Phase
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.judging_tables import decision, evaluation
from apps.news_monitor.surges import Gate, Scan


class Verdict(StrEnum):
    """What came of a moment that no gate of the score stopped, in the order they are asked."""

    DATA_HEALTH = "data_health"
    OPENED = "opened"
    CONTINUED = "continued"
    RESOLVED = "resolved"
    FIRING = "firing"
    PENDING = "pending"
    COOLING = "cooling"
    BELOW = "below_threshold"


WORDS = {
    "open": "above every gate",
    "learning": "still learning what is usual",
    "few_negative": "too few negative stories",
    "not_new": "no fresh negative story",
    "small_rise": "share near its usual level",
    "usual_volume": "as many negative stories as usual",
    "few_publishers": "too few publishers",
    Verdict.DATA_HEALTH.value: "held back: too few of its usual sources delivered",
    Verdict.OPENED.value: "alert",
    Verdict.CONTINUED.value: "the last alert goes on: it had hardly ended",
    Verdict.RESOLVED.value: "the alert is over",
    Verdict.FIRING.value: "told already: its alert is open",
    Verdict.PENDING.value: "above the threshold once: waits for the next look",
    Verdict.COOLING.value: "its last alert has just ended",
    Verdict.BELOW.value: "a score, but below the threshold",
}
"""Gates and verdicts in a reader's words."""


def carrying_window(scores: Scan, moment: int, topic: int) -> int:
    """The window that speaks for a topic: the best score, else the least likely share."""
    score, chance = scores.score[moment, topic], scores.p_share[moment, topic]
    return max(range(len(score)), key=lambda w: (score[w], -chance[w]))


def verdicts(
    scores: Scan,
    moment: int,
    threshold: float,
    state: Episodes,
    change: Change,
    held: NDArray[np.bool_],
) -> list[str]:
    """One for each topic. state, change: after the moment; held: those left as they were."""
    found = []
    for i, best in enumerate(scores.best[moment]):
        phase = Phase(state.phase[i])
        if held[i] and (best >= threshold or phase == Phase.FIRING):
            found.append(Verdict.DATA_HEALTH.value)
        elif change.opened[i]:
            found.append(Verdict.OPENED.value)
        elif change.reopened[i]:
            found.append(Verdict.CONTINUED.value)
        elif change.resolved[i]:
            found.append(Verdict.RESOLVED.value)
        elif phase == Phase.FIRING:
            found.append(Verdict.FIRING.value)
        elif phase == Phase.PENDING and best >= threshold:
            found.append(Verdict.PENDING.value)
        elif best > 0:
            found.append((Verdict.COOLING if phase == Phase.COOLING else Verdict.BELOW).value)
        else:
            window = carrying_window(scores, moment, i)
            found.append(Gate(scores.gate[moment, i, window]).name.lower())
    return found


def store_evaluations(
    connection: Connection,
    *,
    config_id: int,
    topic_ids: Sequence[int],
    at: Sequence[datetime],
    scores: Scan,
    threshold: float,
    keep_all: bool,
    quiet_too: bool = True,
) -> None:
    """Every window of every topic and moment, or (keep_all False) those with a score and the last
    moment: the others can be had again from the buckets. quiet_too: also of topics without a story
    in any window; of a thousand companies most are so at most hours."""
    chosen = np.ones_like(scores.score, dtype=bool) if keep_all else scores.score > 0
    chosen[-1] = True  # what the overview shows
    if not quiet_too:
        chosen &= scores.stories.any(axis=2, keepdims=True)
    rows = [
        {
            "topic_id": topic_ids[i],
            "at": at[t],
            "config_id": config_id,
            "window_hours": scores.rule.windows_hours[w],
            "stories": int(scores.stories[t, i, w]),
            "negative": int(scores.negative[t, i, w]),
            "usual_share": float(scores.share[t, i]),
            "expected_count": float(scores.expected_count[t, i, w]),
            "p_share": float(scores.p_share[t, i, w]),
            "p_count": float(scores.p_count[t, i, w]),
            "p_volume": float(scores.p_volume[t, i, w]),
            "score": float(scores.score[t, i, w]),
            "threshold": threshold,
            "gate": Gate(scores.gate[t, i, w]).name.lower(),
        }
        for t, i, w in np.argwhere(chosen).tolist()
    ]
    insert_new(connection, evaluation, rows)


def store_decisions(
    connection: Connection,
    *,
    config_id: int,
    topic_ids: Sequence[int],
    at: Sequence[datetime],
    scores: Scan,
    threshold: float,
    keep_all: bool,
    verdicts: Sequence[Sequence[str]],
    alerts: Sequence[Sequence[int | None]],
    coverage: Coverage,
    quiet_too: bool = True,
) -> None:
    """What came of every topic and moment, kept as its evaluations are. verdicts, alerts (the open
    alert's id): (T, I)."""
    gates = {gate.name.lower() for gate in Gate}
    rows = []
    for t, moment in enumerate(at):
        for i, topic_id in enumerate(topic_ids):
            plain = verdicts[t][i] in gates and scores.best[t, i] == 0
            if plain and not keep_all and t < len(at) - 1:
                continue
            if plain and not quiet_too and not scores.stories[t, i].any():
                continue
            covered = float(coverage.share[t, i])
            rows.append(
                {
                    "config_id": config_id,
                    "topic_id": topic_id,
                    "at": moment,
                    "verdict": verdicts[t][i],
                    "score": float(scores.best[t, i]),
                    "threshold": threshold,
                    "coverage": None if np.isnan(covered) else covered,
                    "missing_json": json.dumps(coverage.missing(t, i), ensure_ascii=False),
                    "alert_id": alerts[t][i],
                }
            )
    insert_new(connection, decision, rows)
