"""Alerts posted as JSON to other systems: signed, each event once, again until it is taken.

Every attempt carries the same body and the same Idempotency-Key, by which a receiver drops a second
copy. Triptych-Signature is `t=SECONDS,v1=HEX`, HEX the HMAC-SHA256 of `SECONDS.BODY` under the
webhook's secret: a receiver refuses what is not signed or was signed too long ago.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlalchemy import Connection, Engine, Row, case, func, select

from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.judging_tables import alert
from apps.news_monitor.owed import (
    DeliveryError,
    DeliveryReport,
    RefusedForGoodError,
    claim,
    due_rows,
    new_row,
    note_failed,
    note_sent,
)
from apps.news_monitor.public_addresses import PublicTransport, RefusedAddressError
from apps.news_monitor.telling import Webhook
from apps.news_monitor.telling_tables import webhook_call
from apps.news_monitor.thresholds import Severity

OPENED, RISEN, RESOLVED = "alert.opened", "alert.risen", "alert.resolved"
PER_ROUND = 100
TRY_LATER = (408, 425, 429)
PRIVATE = "set allow_private = true for this webhook if it is meant"


def owe_calls(
    connection: Connection, alert_id: int, event: str, webhooks: Sequence[Webhook], now: datetime
) -> None:
    """A call to each webhook that wants it, in the caller's transaction; asked twice, owed once."""
    _owe(connection, alert_id, event, [(hook, "") for hook in webhooks], now)


def owe_risen(
    connection: Connection,
    alert_id: int,
    was: Severity,
    webhooks: Sequence[Webhook],
    now: datetime,
    *,
    again: bool,
) -> None:
    """Calls about an alert that has become more severe than `was`, in the caller's transaction: its
    opening to webhooks that were not told of it and want it now; to the others, if it is told
    `again`, that it has risen. Once for each severity it reaches, so twice at most."""
    query = select(webhook_call.c.url).where(
        webhook_call.c.alert_id == alert_id, webhook_call.c.event == OPENED
    )
    known = set(connection.execute(query).scalars())
    fresh = [hook for hook in webhooks if hook.url not in known]
    _owe(connection, alert_id, OPENED, [(hook, "") for hook in fresh], now)
    if again:
        told = [(hook, f"from {was}") for hook in webhooks if hook.url in known]
        _owe(connection, alert_id, RISEN, told, now, was)


def owe_resolved(connection: Connection, webhooks: Sequence[Webhook], now: datetime) -> None:
    """A call about the end of each alert, to every webhook that was told of it; another one where
    it went on after that, and the webhook was told that it had risen."""
    last = case((webhook_call.c.event == RESOLVED, None), else_=webhook_call.c.id)
    over = case((webhook_call.c.event == RESOLVED, webhook_call.c.id), else_=0)
    query = (
        select(webhook_call.c.alert_id, webhook_call.c.url, func.max(over).label("over"))
        .join(alert, alert.c.id == webhook_call.c.alert_id)
        .where(alert.c.state == "resolved", webhook_call.c.event.in_((OPENED, RISEN, RESOLVED)))
        .group_by(webhook_call.c.alert_id, webhook_call.c.url)
        .having(func.max(last) > func.max(over))
        .order_by(webhook_call.c.alert_id)
    )
    known = {hook.url: hook for hook in webhooks}
    for row in connection.execute(query).all():
        if row.url in known:
            again = f"after {row.over}" if row.over else ""
            _owe(connection, row.alert_id, RESOLVED, [(known[row.url], again)], now)


def _owe(
    connection: Connection,
    alert_id: int,
    event: str,
    hooks: Sequence[tuple[Webhook, str]],
    now: datetime,
    was: Severity | None = None,
) -> None:
    """hooks: each with what tells this event from another of its kind; see _body for was."""
    if not hooks:
        return
    row = connection.execute(select(alert).where(alert.c.id == alert_id)).one()
    evidence = Evidence.from_json(row.evidence_json)
    rows = []
    for hook, which in hooks:
        # Who was told that it began is told that it is over, whatever is wanted by now.
        if event != RESOLVED and not hook.wants(evidence.topic, evidence.severity):
            continue
        described = "|".join((row.dedupe_key, event, *([which] if which else []), hook.url))
        key = hashlib.sha256(described.encode()).hexdigest()
        rows.append(
            {
                "url": hook.url,
                "alert_id": alert_id,
                "event": event,
                "idempotency_key": key,
                "body": _body(row, event, key, now, was),
                **new_row(now),
            }
        )
    insert_new(connection, webhook_call, rows)


def _body(row: Row[Any], event: str, key: str, now: datetime, was: Severity | None) -> str:
    """was: the severity from which the alert has risen."""
    # One that goes on after its end is set firing again only after what is owed of its moment.
    over = event == RESOLVED and row.resolved_at is not None
    described = {
        "event": event,
        "id": key,
        "at": now.isoformat(),
        "alert": {
            "id": row.id,
            "key": row.dedupe_key,
            "state": "resolved" if over else "firing",
            "resolved_at": row.resolved_at.isoformat() if over else None,
            **({} if was is None else {"risen_from": was}),
            "evidence": json.loads(row.evidence_json),
        },
    }
    return json.dumps(described, ensure_ascii=False, separators=(",", ":"))


def call_due(
    engine: Engine,
    webhooks: Sequence[Webhook],
    *,
    now: datetime,
    agent: str,
    clock: Callable[[], datetime] | None = None,
    until: datetime | None = None,
) -> DeliveryReport:
    """Post what is due. A webhook that fails is left alone for the rest of the round: one that
    hangs must not hold up the others. clock, until: as of outbox.deliver_due."""
    report = DeliveryReport()
    clock = clock or (lambda: now)
    known = {hook.url: hook for hook in webhooks}
    failed: set[str] = set()
    for number in due_rows(engine, webhook_call, now, PER_ROUND):
        if until is not None and clock() >= until:
            report.lines.append("webhook calls left for the next round: its time is used up")
            break
        query = select(webhook_call).where(webhook_call.c.url.not_in(list(failed)))
        row = claim(engine, webhook_call, query, number, clock())
        if row is None:
            continue
        try:
            _post(known.get(row["url"]), row, clock(), agent)
        except DeliveryError as error:
            failed.add(row["url"])
            what = f"{row['event']} of alert {row['alert_id']} to {place_of(row['url'])}"
            note_failed(engine, webhook_call, row, error, clock(), report, what)
        else:
            note_sent(engine, webhook_call, number, clock(), report)
    return report


def signature(secret: str, body: bytes, now: datetime) -> str:
    """The value of Triptych-Signature."""
    seconds = int(now.timestamp())
    signed = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256)
    return f"t={seconds},v1={signed.hexdigest()}"


def place_of(url: str) -> str:
    """The address without its path, query and password: some hold a secret there."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def _post(hook: Webhook | None, row: dict[str, Any], now: datetime, agent: str) -> None:
    """Raises DeliveryError unless the receiver answered 2xx."""
    if hook is None:
        raise RefusedForGoodError("its webhook is no longer in the settings")
    body = row["body"].encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": agent,
        "Idempotency-Key": row["idempotency_key"],
        "Triptych-Event": row["event"],
        "Triptych-Signature": signature(hook.secret.get_secret_value(), body, now),
    }
    allowed = (urlsplit(hook.url).hostname or "",) if hook.allow_private else ()
    transport = PublicTransport(allowed, seconds=hook.timeout_seconds, way_out=PRIVATE)
    place = place_of(hook.url)
    try:
        with (
            httpx.Client(
                transport=transport,
                follow_redirects=False,
                timeout=httpx.Timeout(hook.timeout_seconds),
                trust_env=False,
            ) as client,
            client.stream("POST", hook.url, content=body, headers=headers) as response,
        ):
            code = response.status_code  # the answer's body is not read
    except RefusedAddressError as error:
        raise RefusedForGoodError(str(error)) from None
    except httpx.TimeoutException:
        raise DeliveryError(f"{place}: no answer within {hook.timeout_seconds:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DeliveryError(f"{place}: {reason}") from None
    if 200 <= code < 300:
        return
    said = f"{place} answered HTTP {code}"
    if code >= 500 or code in TRY_LATER:
        raise DeliveryError(said)
    raise RefusedForGoodError(said)
