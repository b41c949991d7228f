"""Drift of labels: quiet where only days vary, loud where a part moves, and what the mail says."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy.stats import binom
from sqlalchemy import Engine, select

from apps.news_monitor.articles import Article
from apps.news_monitor.day_report import DayReport, Post, read_day
from apps.news_monitor.detection import Detector
from apps.news_monitor.ingest import ingest
from apps.news_monitor.label_drift import (
    BEFORE,
    LOOKS,
    WEEK,
    Drift,
    LabelDrift,
    drift,
    drift_lines,
    read_drift,
)
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.mail import Envelope
from apps.news_monitor.predictions import label_pending, register_model
from apps.news_monitor.report_mail import DRIFT, compose_heartbeat
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import bucket, topic

END = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = WEEK + BEFORE


def test_without_more_than_chance_between_days_the_chance_is_nearly_a_binomials() -> None:
    n = np.full(DAYS, 40.0)
    k = np.full(DAYS, 8.0)  # days that vary less than by chance: rho falls to its floor
    k[-WEEK:] = 14.0
    (found,) = drift(n, {"bad": k}).found
    assert (found.what, found.share) == ("bad", 0.35)
    assert found.usual == pytest.approx(0.2, abs=1e-3)
    plain = float(binom.sf(97, 280, 0.2))  # 98 of 280, which a floor of .005 makes less rare
    assert plain < found.chance < 1.0 / LOOKS
    fallen = drift(n, {"bad": 40.0 - k}).found[0]
    assert fallen.share == pytest.approx(0.65)
    assert fallen.chance == pytest.approx(found.chance, rel=0.1)
    assert drift(n, {"bad": np.full(DAYS, 8.0)}) == LabelDrift(1, ())
    assert drift(n, {"none": np.zeros(DAYS)}) == LabelDrift(0, ())


def test_a_mix_that_varies_from_day_to_day_raises_no_line() -> None:
    rng = np.random.default_rng(5)
    loud = 0
    for _ in range(100):
        n = rng.poisson(60, DAYS).astype(float)
        share = rng.beta(0.2 * 32, 0.8 * 32, DAYS)  # rho .03
        loud += len(drift(n, {"bad": rng.binomial(n.astype(int), share).astype(float)}).found)
    assert loud == 0


def test_what_moves_is_found_among_many_parts() -> None:
    rng = np.random.default_rng(6)
    n = rng.poisson(60, DAYS).astype(float)
    share = rng.beta(0.2 * 49, 0.8 * 49, (DAYS, 30))
    parts = rng.binomial(n[:, None].astype(int), share).astype(float)
    parts[-WEEK:, 4] = np.minimum(parts[-WEEK:, 4] * 2.5, n[-WEEK:])
    found = drift(n, {f"part {i}": parts[:, i] for i in range(30)})
    assert (found.parts, [one.what for one in found.found]) == (30, ["part 4"])


def test_the_labels_of_the_last_weeks_are_counted_and_the_mail_says_what_moved(
    engine: Engine,
    labeller: LabelTexts,
    ordinary: Callable[[datetime, int], list[Article]],
    story: Callable[[str, datetime, str], Article],
) -> None:
    articles: list[Article] = ordinary(END, DAYS)
    articles += [
        story(f"oil crash {50000 + n}", END - timedelta(hours=1 + n % 160), "ABC"[n % 3])
        for n in range(80)
    ]
    with engine.begin() as connection:
        ingest(connection, articles, copies=CopyIndex(), fetched=END)
        model = register_model(connection, labeller, END)
    label_pending(engine, model, now=END, limit=10**6, batch=512)
    Detector(engine, model, NewsSettings(), now=END).run(END, now=END)
    with engine.begin() as connection:
        found = read_drift(connection, model.id, END + timedelta(hours=7))
        assert read_drift(connection, model.id, END - timedelta(days=2)) == LabelDrift(0, ())
        report = read_day(connection, END - timedelta(days=1), END)
        oil = connection.execute(
            select(bucket.c.stories)
            .join(topic, topic.c.id == bucket.c.topic_id)
            .where(topic.c.name == "Oil", bucket.c.hour >= END.timestamp() // 3600 - WEEK * 24)
        ).scalars()
        about = sum(oil)
    assert about == WEEK * 8 + 80
    # Sentiments, sure and unsure (of which there is none), three topics; positive ones are none.
    assert found.parts == 6
    told = {one.what: one for one in found.found}
    assert told["stories about Oil"].share == pytest.approx(about / (WEEK * 24 + 80))
    assert told["negative stories"].share > 0.3 > told["negative stories"].usual
    assert (report.parts, report.drift) == (6, drift_lines(found.found))
    assert DayReport.from_json(report.to_json()) == report


def test_a_heartbeat_names_the_drift_and_what_to_do() -> None:
    quiet = DayReport(
        END, END, 1, 0, (), 0, 0, 0, (), None, (), Post(0, 0, 0), Post(0, 0, 0), "news@1", 7
    )
    moved: Sequence[Drift] = [Drift("negative stories", 0.31, 0.18, 1 / 12_000)]
    report = DayReport(**{**quiet.__dict__, "drift": drift_lines(moved)})
    envelope = Envelope("n@bank.example", "it@bank.example", "<a@b>", "<a@b>", "")
    subjects, bodies = [], []
    for one in (quiet, report):
        mail = compose_heartbeat(one, envelope, END)
        subjects.append(mail["Subject"])
        body = mail.get_body(("plain",))
        assert body is not None
        bodies.append(body.get_content().replace("\r\n", "\n"))
    assert subjects == [
        "News monitor: alive, 0 alerts in 24 hours",
        "News monitor: alive, 0 alerts in 24 hours, 1 thing to look at",
    ]
    assert "Labels        7 parts watched for drift, none moved\n" in bodies[0]
    assert DRIFT not in bodies[0]
    assert (
        "Drift: Negative stories: 31% in the last week, 18% in the four before (chance 1 in "
        f"12,000)\n{DRIFT}\n" in bodies[1]
    )
    old = quiet.to_json().replace(', "parts": 7, "drift": []', "")
    assert DayReport.from_json(old) == DayReport(**{**quiet.__dict__, "parts": 0})
