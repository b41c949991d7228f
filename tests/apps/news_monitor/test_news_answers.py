"""What readers answer: by the links in mails, which change nothing when opened, and on the page."""

import email
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import Engine, delete, select

from apps.news_monitor.alerts import follow_alert
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.links import LABELS, Action, AlertRef, LinkError, Links, Reader, read_token
from apps.news_monitor.outbox import deliver_due
from apps.news_monitor.reports import owe_after_silence
from apps.news_monitor.responses import (
    Answers,
    acknowledge,
    answers_to,
    end_silence,
    mark_alert,
    note_silenced,
    silence_of,
    silence_topic,
    silences,
)
from apps.news_monitor.rest import answer_site
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.tables import MIGRATIONS, VERSION_TABLE, metadata
from apps.news_monitor.telling import LinkSettings
from apps.news_monitor.telling_tables import mark, outbox, recipient, silence
from shared.errors import DataError
from shared.storage import ENV_FOLDER

AT = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECRET = "correct horse battery"
LINKS = Links("https://triptych.example", SECRET.encode(), timedelta(days=30))
DESK = "desk@bank.example"
OpenAlert = Callable[..., int]


@pytest.fixture
def opened(sqlite: Engine, evidence: Evidence, open_evidence: OpenAlert) -> int:
    """An alert with its mail to the desk."""
    evidence = replace(evidence, opened_at=AT)
    with sqlite.begin() as connection:
        return open_evidence(connection, evidence)


def mailed(engine: Engine, folder: Path, links: Links | None = LINKS) -> EmailMessage:
    deliver_due(
        engine,
        OutboxMailer(folder),
        now=AT,
        sender="News <news@bank.example>",
        dashboard_url="https://dash.example",
        links=links,
    )
    (file,) = folder.glob("*.eml")
    return email.message_from_bytes(file.read_bytes(), policy=default)


def links_of(message: EmailMessage) -> dict[str, str]:
    body = message.get_body(("plain",))
    assert body is not None
    found = re.findall(
        r"^([A-Z][a-z ]+): (https://triptych\S+)\r?$", body.get_content(), re.MULTILINE
    )
    return dict(found)


@pytest.fixture
def links(sqlite: Engine, opened: int, tmp_path: Path) -> dict[str, str]:
    """What the mail of the opened alert offers."""
    assert opened == 1
    return links_of(mailed(sqlite, tmp_path))


class Site:
    """The pages behind the links, at a moment."""

    def __init__(self, engine: Engine) -> None:
        self.now = AT + HOUR
        url = engine.url.render_as_string(hide_password=False)
        site = answer_site(url, LINKS, lambda: self.now, "https://dash.example")
        self.client = TestClient(site)

    def get(self, link: str) -> Any:
        return self.client.get("/" + link.rpartition("/")[2])

    def post(self, link: str, **fields: str) -> Any:
        return self.client.post("/" + link.rpartition("/")[2], data=fields)


@pytest.fixture
def site(sqlite: Engine) -> Site:
    return Site(sqlite)


def contents(engine: Engine) -> dict[str, list[Any]]:
    with engine.begin() as connection:
        return {
            name: sorted(map(repr, connection.execute(select(table)).all()))
            for name, table in metadata.tables.items()
        }


@pytest.mark.usefixtures("opened")
def test_the_mail_offers_what_can_be_done_and_the_text_says_the_same(
    sqlite: Engine, tmp_path: Path
) -> None:
    message = mailed(sqlite, tmp_path)
    links = links_of(message)
    assert list(links) == [*LABELS.values(), "Unsubscribe"]
    html = message.get_body(("html",))
    assert html is not None
    for link in links.values():
        assert f'href="{link}"' in html.get_content()
    asked = read_token(links["Acknowledge"].rpartition("/")[2])
    assert (asked.action, asked.alert_id) == (Action.ACKNOWLEDGE, 1)
    assert asked.expires == int((AT + timedelta(days=30)).timestamp())


@pytest.mark.usefixtures("opened")
def test_the_mail_can_be_unsubscribed_from_with_one_click(
    sqlite: Engine, site: Site, tmp_path: Path
) -> None:
    message = mailed(sqlite, tmp_path)
    address, by_mail = message["List-Unsubscribe"].split(", ")
    assert by_mail == "<mailto:news@bank.example?subject=unsubscribe>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    done = site.post(address.strip("<>"), **{"List-Unsubscribe": "One-Click"})
    assert done.status_code == 200
    with sqlite.begin() as connection:
        assert connection.execute(select(recipient.c.enabled)).scalar_one() is False
    assert f"{DESK} gets no more mails of the news monitor." in done.text
    back = re.search(r'action="([^"]+)"', done.text)
    assert back is not None
    site.post(back[1])
    with sqlite.begin() as connection:
        assert connection.execute(select(recipient.c.enabled)).scalar_one() is True


@pytest.mark.usefixtures("opened")
def test_without_links_the_mail_is_as_before(sqlite: Engine, tmp_path: Path) -> None:
    message = mailed(sqlite, tmp_path, None)
    assert links_of(message) == {}
    assert message["List-Unsubscribe"] == "<mailto:news@bank.example?subject=unsubscribe>"
    assert message["List-Unsubscribe-Post"] is None


def test_opening_a_link_changes_nothing_however_often(
    sqlite: Engine, links: dict[str, str], site: Site
) -> None:
    before = contents(sqlite)
    for link in links.values():
        for _ in range(2):
            page = site.get(link)
            assert page.status_code == 200
            assert '<form method="post">' in page.text
            assert page.headers["referrer-policy"] == "no-referrer"
            assert page.headers["cache-control"] == "no-store"
    assert contents(sqlite) == before


def test_each_link_does_what_it_says(sqlite: Engine, links: dict[str, str], site: Site) -> None:
    assert "Acknowledged by desk@bank.example at 2026-03-11 15:30 UTC." in (
        site.post(links["Acknowledge"]).text
    )
    site.now += HOUR
    assert "at 2026-03-11 15:30 UTC" in site.post(links["Acknowledge"]).text  # the first stands
    said = site.post(links["Silence topic"], hours="4").text
    assert "Airlines is silenced until 2026-03-11 20:30 UTC" in said
    site.post(links["Useful"])
    site.post(links["Not useful"])
    with sqlite.begin() as connection:
        answers = answers_to(connection, [1])[1]
        (held,) = silences(connection, site.now)
        marks = connection.execute(select(mark)).all()
    assert answers == Answers(DESK, AT + HOUR, not_useful=(DESK,))
    assert (held.topic, held.by, held.ends_at) == ("Airlines", DESK, AT + 6 * HOUR)
    assert [(row.alert_id, row.by, row.useful) for row in marks] == [(1, DESK, False)]
    assert (
        "Acknowledged by desk@bank.example, 2026-03-11 15:30 UTC" in site.get(links["Useful"]).text
    )


def altered(link: str, place: int, value: str) -> str:
    parts = link.rpartition("/")[2].split("-", 4)
    parts[place] = value
    return "-".join(parts)


def test_a_link_that_was_altered_is_refused(
    sqlite: Engine, links: dict[str, str], site: Site
) -> None:
    with sqlite.begin() as connection:
        insert_new(connection, recipient, [{"email": "other@bank.example", "enabled": True}])
    before = contents(sqlite)
    changes = [(0, "silence"), (1, "2"), (1, "0"), (2, "2"), (3, "99999999999"), (4, "A" * 43)]
    for place, value in changes:
        link = altered(links["Acknowledge"], place, value)
        for answer in (site.get(link), site.post(link)):
            assert answer.status_code == 403, (place, value)
            assert "this link is not valid; take it whole from the mail" in answer.text
    assert contents(sqlite) == before


def test_what_is_no_link_of_ours_is_refused(site: Site) -> None:
    signature = "A" * 43
    for token in (
        "x",
        "acknowledge-1-1-1-short",
        f"delete-1-1-1-{signature}",
        "a" * 5000,
        "%00",
        f"acknowledge-9999999999-1-1-{signature}",
        f"acknowledge-١-1-1-{signature}",
    ):
        assert site.get(token).status_code == 403, token


def test_a_link_ends_with_its_time(sqlite: Engine, links: dict[str, str], site: Site) -> None:
    link = links["Acknowledge"]
    site.now = AT + timedelta(days=30)
    assert site.get(link).status_code == 200
    site.now += timedelta(seconds=1)
    answer = site.post(link)
    assert answer.status_code == 403
    assert "this link was valid until 2026-04-10 14:30 UTC; use the alerts page" in answer.text
    with sqlite.begin() as connection:
        assert answers_to(connection, [1])[1] == Answers()


def test_a_link_of_another_database_or_address_or_secret_is_void() -> None:
    reader = Reader(1, DESK)
    asked = read_token(LINKS.token(Action.ACKNOWLEDGE, AlertRef(1, "abcd1234"), reader, AT))
    LINKS.check(asked, AlertRef(1, "abcd1234"), reader, AT)
    other = Links(LINKS.url, b"another secret of 16", LINKS.valid)
    for links, ref, who in (
        (LINKS, AlertRef(1, "ffff0000"), reader),
        (LINKS, AlertRef(1, "abcd1234"), Reader(1, "heir@bank.example")),
        (other, AlertRef(1, "abcd1234"), reader),
    ):
        with pytest.raises(LinkError):
            links.check(asked, ref, who, AT)


def test_a_silence_has_its_limits(sqlite: Engine, links: dict[str, str], site: Site) -> None:
    for hours in ("0", "721", "-1", "x", "1e3", "9" * 400, "4\n5"):
        assert site.post(links["Silence topic"], hours=hours).status_code == 422, hours
    assert site.post(links["Silence topic"], hours="9" * 3000).status_code == 413
    assert contents(sqlite)[silence.name] == []


def test_names_in_the_pages_are_escaped(
    sqlite: Engine, evidence: Evidence, open_evidence: OpenAlert, site: Site, tmp_path: Path
) -> None:
    with sqlite.begin() as connection:
        open_evidence(connection, replace(evidence, topic="<script>alert(1)</script>"))
    page = site.get(links_of(mailed(sqlite, tmp_path))["Silence topic"]).text
    assert "<script" not in page
    assert "Silence alerts about &lt;script&gt;alert(1)&lt;/script&gt;?" in page
    assert '<option value="24" selected>1 day</option>' in page


def test_a_silence_covers_what_happens_and_what_is_told_within_it(
    engine: Engine, evidence: Evidence, open_evidence: OpenAlert
) -> None:
    with engine.begin() as connection:
        number = open_evidence(connection, evidence)
        silence_topic(connection, number, 4, DESK, AT)
        held = [
            bool(silence_of(connection, [1], at, now))
            for at, now in (
                (AT - HOUR, AT - HOUR / 2),  # told before it began
                (AT - HOUR, AT + HOUR / 2),  # judged late, told within it
                (AT + HOUR, AT + HOUR),
                (AT + 3 * HOUR, AT + 9 * HOUR),  # happened within it
                (AT + 4 * HOUR, AT + 5 * HOUR),  # it has ended
            )
        ]
        assert held == [False, True, True, True, False]
        assert silence_of(connection, [2], AT + HOUR, AT + HOUR) == {}
        # Pressed twice it lasts as long as the longer one, and can be ended.
        silence_topic(connection, number, 1, DESK, AT + HOUR)
        (one,) = silences(connection, AT + HOUR)
        assert one.ends_at == AT + 4 * HOUR
        end_silence(connection, one.id, AT + 2 * HOUR)
        assert silences(connection, AT + 2 * HOUR) == []
        with pytest.raises(DataError, match="a silence of 721 hours, expected 1 to 720"):
            silence_topic(connection, number, 721, DESK, AT)


def test_what_is_over_seen_or_silenced_anew_is_not_told_when_a_silence_ends(
    sqlite: Engine, evidence: Evidence, open_evidence: OpenAlert
) -> None:
    settings = NewsSettings(recipients=(DESK,))
    with sqlite.begin() as connection:
        for name in ("Over", "Seen", "Anew", "On"):
            number = open_evidence(connection, replace(evidence, topic=name))
            silence_topic(connection, number, 2, "ana", AT - HOUR)
            note_silenced(connection, number, number)
        connection.execute(delete(outbox))
        follow_alert(connection, 1, 3.0, resolved_at=AT)
        acknowledge(connection, 2, "ana", AT)
        silence_topic(connection, 3, 9, "ana", AT)
        told = []
        for hours in (0, 1, 2):
            owe_after_silence(connection, settings, AT + hours * HOUR)
            told.append(list(connection.execute(select(outbox.c.alert_id)).scalars()))
    assert told == [[], [4], [4]]


def test_answers_are_kept_in_both_databases(
    engine: Engine, evidence: Evidence, open_evidence: OpenAlert
) -> None:
    with engine.begin() as connection:
        number = open_evidence(connection, evidence)
        acknowledge(connection, number, "ana@bank.example", AT)
        acknowledge(connection, number, "ben@bank.example", AT + HOUR)
        for by, useful in (("ana", True), ("ben", True), ("ana", False)):
            mark_alert(connection, number, useful, by, AT)
        assert answers_to(connection, [number])[number] == Answers(
            "ana@bank.example", AT, useful=("ben",), not_useful=("ana",)
        )


def test_links_are_wanted_or_not() -> None:
    assert Links.of(LinkSettings()) is None
    links = Links.of(LinkSettings(url="https://t.example/", secret=SecretStr(SECRET)))
    assert links is not None
    assert links.link(Action.USEFUL, AlertRef(1, "k"), Reader(1, DESK), AT).startswith(
        "https://t.example/news/act/useful-1-1-"
    )


def test_the_outbox_row_of_before_survives_the_migration(
    engine: Engine, evidence: Evidence, open_evidence: OpenAlert
) -> None:
    with engine.begin() as connection:
        open_evidence(connection, evidence)
        before = connection.execute(select(outbox)).one()._asdict()
    to_revision(engine, "0005")
    to_revision(engine, "head")
    with engine.begin() as connection:
        after = connection.execute(select(outbox)).one()._asdict()
        assert after == before
        # Twice the same mail is still refused, and one about no alert is taken.
        insert_new(connection, outbox, [{**before, "id": 2, "message_id": "<other@x>"}])
        insert_new(connection, outbox, [{**before, "id": 3, "kind": "heartbeat",
                                         "alert_id": None, "message_id": "<third@x>"}])  # fmt: skip
        ids = connection.execute(select(outbox.c.id).order_by(outbox.c.id)).scalars().all()
    assert ids == [1, 3]


def to_revision(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(ENV_FOLDER))
    config.set_main_option("version_locations", str(MIGRATIONS / "versions"))
    config.set_main_option("path_separator", "newline")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        config.attributes["version_table"] = VERSION_TABLE
        if revision == "head":
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)
