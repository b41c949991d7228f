"""`triptych news replay`: a file of dated headlines through the monitor, with a simulated clock.

Its own database, the same ingest, labelling, detection and mails as the running monitor; only the
clock and the mail box differ. At each moment nothing later is known. The same file, model and
settings give the same alerts and the same mails.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, select

from apps.news_monitor.articles import (
    NAME_LIMIT,
    SUMMARY_LIMIT,
    TITLE_LIMIT,
    Article,
    article_key,
    canonical_url,
    plain_text,
)
from apps.news_monitor.bucket_counts import first_bucket_hour, read_counts
from apps.news_monitor.companies import read_companies
from apps.news_monitor.company_names import CompanyFinder
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.detection import Detector
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.following import Following, follow
from apps.news_monitor.given_labels import LABEL_COLUMNS, GivenLabels
from apps.news_monitor.ingest import Ingested, ingest
from apps.news_monitor.judging_tables import alert
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.outbox import deliver_due
from apps.news_monitor.predictions import (
    ActiveModel,
    label_pending,
    register_model,
)
from apps.news_monitor.same_event import join_events
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.surges import scan
from apps.news_monitor.tables import MIGRATIONS, REPLAY_DATABASE, VERSION_TABLE
from apps.news_monitor.trends import trend_frame
from shared.atomic import write_text
from shared.errors import DataError
from shared.intake import take_in
from shared.storage import create_engine, upgrade
from shared.tables import Column, Reject, Table, sniff_columns, write_rejects, write_table

ALERTS, TREND, OUTBOX = "alerts.jsonl", "trend.csv", "outbox"
DEFAULT_RECIPIENT = "desk@example.com"
ITEM_COLUMNS = (
    Column("published_at", kind="timestamp", option="--time-column"),
    Column("title", option="--title-column"),
    Column("summary", required=False, allow_empty=True),
    Column("source", required=False, allow_empty=True),
    Column("url", required=False, allow_empty=True),
)
USUAL_NAMES = {
    "published_at": ("time", "date", "datetime", "timestamp", "published"),
    "title": ("headline", "text"),
    "summary": ("description",),
    "source": ("publisher",),
    "url": ("link",),
}
YEARS = (1, 9998)
"""Of the dates that are believed: a file's types can hold others, Python's datetime cannot."""
LABEL_BATCH = 512
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReplayReport:
    """What a replay read and found; copies, joined: items that count with another, for they have
    its words, or tell of its event; folder: where alerts.jsonl, trend.csv and outbox/ are."""

    folder: Path
    items: int
    rejected: int
    copies: int
    joined: int
    evaluated: int
    alerts: tuple[Evidence, ...]
    mails: int
    threshold: float | None
    seconds: float


def replay(
    items: Path,
    *,
    output: Path,
    labeller: LabelTexts | None,
    settings: NewsSettings,
    since: datetime | None = None,
    until: datetime | None = None,
    mapping: Mapping[str, str] = {},
    say: Callable[[str], None] | None = None,
) -> ReplayReport:
    """Replay the file from `since` to `until`; what lies before `since` is history to learn from.

    labeller: None takes the labels of the file's own columns sentiment and topics (joined by |).
    settings: as the monitor's; without recipients, mails go to desk@example.com.

    Raises: DataError for a file that cannot be used, or a period without headlines.
    """
    begun = time.monotonic()
    say = say or LOG.info
    _clear(output)
    frame, rejected = read_items(items, mapping=mapping, output=output, say=say)
    asks = labeller is not None
    if labeller is None:
        labeller = GivenLabels.from_frame(frame, items)
    last = frame["published_at"].iloc[-1].to_pydatetime() + timedelta(hours=1)
    until = last if until is None else until
    since = frame["published_at"].iloc[0].to_pydatetime() if since is None else since
    frame = frame[frame["published_at"] < until]
    if since >= until or not (frame["published_at"] >= since).any():
        raise DataError(
            f"{items}: no headline lies between {since:%Y-%m-%d} and {until:%Y-%m-%d}; "
            f"the file reaches to {last:%Y-%m-%d}"
        )
    recipients = settings.recipients or (DEFAULT_RECIPIENT,)
    # A replay has no quiet hours, no digests and nobody to call.
    changes = {"recipients": recipients, "subscriptions": (), "webhooks": ()}
    settings = settings.model_copy(update=changes)
    engine = _fresh_database(output)
    try:
        stored = _store(engine, frame)
        say(f"{stored.new} headlines, {stored.copies} of them copies")
        with engine.begin() as connection:
            model = register_model(connection, labeller, since)
            companies = _companies(connection, settings, model, asks=asks)
        done = label_pending(
            engine, model, now=since, limit=len(frame), batch=LABEL_BATCH, companies=companies
        )
        say(f"{done} stories labelled by {labeller.name}")
        joined = join_events(engine, model, settings.stories)
        if joined:
            say(f"{joined} of them tell of an event that another told before")
        detector = Detector(engine, model, settings, now=since)
        found = detector.run(until, since=since, keep_all=False)
        opened = list(found.opened)
        say(f"{found.evaluated} moments judged, {len(opened)} alerts")
        detectors = [detector]
        if companies is not None:
            followed = companies.followed
            detectors.append(Detector(engine, model, settings, now=since, companies=followed))
            named = detectors[1].run(until, since=since, keep_all=False).opened
            opened += named
            say(f"{len(companies.topics)} companies, {len(named)} alerts")
        sent = deliver_due(
            engine,
            OutboxMailer(output / OUTBOX),
            now=until + timedelta(hours=1),
            sender=settings.mail_from,
            dashboard_url=settings.dashboard_url,
            limit=10**6,
        )
        _write_alerts(engine, output / ALERTS)
        frames = [_trend(engine, model, one, settings, since, until) for one in detectors]
        write_table(pd.concat(frames, ignore_index=True), output / TREND)
    finally:
        engine.dispose()
    return ReplayReport(
        folder=output,
        items=stored.new,
        rejected=rejected + len(frame) - stored.new,
        copies=stored.copies,
        joined=joined,
        evaluated=found.evaluated,
        alerts=tuple(one.evidence for one in opened),
        mails=sent.sent,
        threshold=found.threshold,
        seconds=time.monotonic() - begun,
    )


def read_items(
    items: Path, *, mapping: Mapping[str, str], output: Path, say: Callable[[str], None]
) -> tuple[pd.DataFrame, int]:
    """The file's usable rows by time, and how many were rejected. Columns that go by another usual
    name (time, headline, description) are found without a mapping."""
    present = sniff_columns(items)
    names = dict(mapping)
    for name, others in USUAL_NAMES.items():
        if name not in names and name not in present:
            found = [other for other in others if other in present]
            names.update({name: found[0]} if found else {})
    table = take_in(items, ITEM_COLUMNS, mapping=names, rejects=output, say=say)
    beyond = ~table.frame["published_at"].dt.year.between(*YEARS)
    if beyond.any():
        rows, table = len(table.frame), _without(table, beyond.to_numpy())
        target = output / f"{items.name.split('.')[0]}.rejects.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_rejects(table, target)  # with those that take_in found
        say(f"{items.name}: {beyond.sum()} of {rows} rows rejected for their dates, see {target}")
    frame = table.frame.sort_values("published_at", kind="stable").reset_index(drop=True)
    for name in ("summary", "source", "url"):
        frame[name] = frame[name].fillna("").astype(str) if name in frame else ""
    kept = ["published_at", "title", "summary", "source", "url"]
    return frame[kept + [c for c in LABEL_COLUMNS if c in frame]], len(table.rejects)


def _without(table: Table, beyond: NDArray[np.bool_]) -> Table:
    """The table with the rows of a mask (n,) rejected for their dates.

    Raises DataError where no row is left.
    """
    expected = f"expected a year from {YEARS[0]} to {YEARS[1]}"
    found = [
        Reject(
            int(line),
            f"published_at is {cells['published_at']}, {expected}",
            json.dumps(cells, ensure_ascii=False, default=str),
        )
        for line, cells in zip(
            table.lines[beyond], table.frame[beyond].to_dict("records"), strict=True
        )
    ]
    if beyond.all():
        first = f"line {found[0].line}: {found[0].reason}"
        raise DataError(f"{table.path}: no row can be used; the first: {first}")
    rejects = tuple(sorted((*table.rejects, *found), key=lambda reject: reject.line))
    kept = table.frame[~beyond].reset_index(drop=True)
    return replace(table, frame=kept, rejects=rejects, lines=table.lines[~beyond])


def _clear(output: Path) -> None:
    """Make the folder; an earlier replay's database and mails in it are removed."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        for suffix in ("", "-wal", "-shm"):
            (output / (REPLAY_DATABASE + suffix)).unlink(missing_ok=True)
        if (output / OUTBOX).is_dir():
            for pattern in ("alert-*.eml", "broad-*.eml"):
                for mail in (output / OUTBOX).glob(pattern):
                    mail.unlink()
    except OSError as error:
        raise DataError(f"{output}: cannot be written: {error.strerror}") from None


def _fresh_database(output: Path) -> Engine:
    engine = create_engine(f"sqlite:///{output / REPLAY_DATABASE}")
    upgrade(engine, MIGRATIONS, VERSION_TABLE)
    return engine


def _store(engine: Engine, frame: pd.DataFrame) -> Ingested:
    articles: dict[str, Article] = {}
    rows: Iterator[Any] = frame.itertuples(index=False)
    for row in rows:
        at = row.published_at.to_pydatetime().astimezone(UTC)
        title = plain_text(row.title, TITLE_LIMIT)
        url = canonical_url(row.url)
        # The title is part of the key: archives repeat an address for another headline.
        key = article_key("", f"{url} {at.isoformat()} {row.source}", title, at)
        articles.setdefault(
            key,
            Article(
                key=key,
                url=url,
                title=title,
                summary=plain_text(row.summary, SUMMARY_LIMIT),
                publisher=plain_text(row.source, NAME_LIMIT),
                published_at=at,
                effective_at=at,
                date_quality="given",
            ),
        )
    with engine.begin() as connection:
        return ingest(
            connection,
            [article for article in articles.values() if article.text],
            copies=CopyIndex(),
            fetched=frame["published_at"].iloc[-1].to_pydatetime(),
        )


def alert_record(evidence: Evidence, state: str, resolved_at: datetime | None) -> dict[str, object]:
    """One line of alerts.jsonl: the figures of the moment it opened, or last became more severe,
    and what became of it."""
    return {
        "topic": evidence.topic,
        "opened_at": evidence.opened_at.isoformat(),
        "severity": evidence.severity,
        "score": round(evidence.score, 4),
        "negative": evidence.negative,
        "total": evidence.stories,
        "expected": round(evidence.expected, 3),
        "share": round(evidence.share, 4),
        "headlines": [line.title for line in evidence.headlines],
        "window_hours": evidence.window_hours,
        "usual_share": round(evidence.usual_share, 4),
        "threshold": round(evidence.threshold, 3),
        "state": state,
        "resolved_at": None if resolved_at is None else resolved_at.isoformat(),
        "model": evidence.model,
    }


def _write_alerts(engine: Engine, path: Path) -> None:
    query = select(alert.c.evidence_json, alert.c.state, alert.c.resolved_at).order_by(
        alert.c.opened_at, alert.c.id
    )
    with engine.begin() as connection:
        rows = connection.execute(query).all()
    lines = [
        json.dumps(
            alert_record(Evidence.from_json(row.evidence_json), row.state, row.resolved_at),
            ensure_ascii=False,
        )
        for row in rows
    ]
    write_text(path, "".join(line + "\n" for line in lines))


def _companies(
    connection: Connection, settings: NewsSettings, model: ActiveModel, *, asks: bool
) -> Following | None:
    if not settings.companies:
        return None
    listed = read_companies(Path(settings.companies))
    finder = CompanyFinder(listed)
    return follow(connection, listed, finder, model.labeller, model.id, asks=asks)


def _trend(
    engine: Engine,
    model: ActiveModel,
    detector: Detector,
    settings: NewsSettings,
    since: datetime,
    until: datetime,
) -> pd.DataFrame:
    """A row for each topic and day: counts, share with its interval, what was usual, the score at
    the day's end."""
    with engine.begin() as connection:
        first = first_bucket_hour(connection, model.id)
        if first is None:
            raise DataError("no headline has a topic: there is no trend to write")
        counts = read_counts(
            connection,
            model_id=model.id,
            topics=detector.topics,
            topic_ids=detector.topic_ids,
            first_hour=first,
            end_hour=int(until.timestamp() // 3600),
        )
    frame = trend_frame(counts)
    days = counts.hours // 24
    scores = scan(counts, [24 * (day + 1) for day in range(days)], settings.surges.rule)
    frame["usual_share"] = scores.share.T.ravel()
    frame["score"] = scores.best.T.ravel()
    shown = (frame["start"] >= pd.Timestamp(since).floor("D")) & (
        frame["start"] < pd.Timestamp(until)
    )
    return frame[shown]
