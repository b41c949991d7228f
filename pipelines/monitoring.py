"""Opening the news monitor from settings: database, model, feeds, mail."""

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path

from sqlalchemy import Connection, Engine

from apps.news_monitor.company_data import (
    CompanyLine,
    company_lines,
    has_companies,
    title_of,
)
from apps.news_monitor.corrections import Correction, Exported, corrections, export_examples
from apps.news_monitor.delivery import Mailer, OutboxMailer, SmtpMailer
from apps.news_monitor.feed_list import (
    IMPORT,
    Feed,
    Imported,
    ListedFeed,
    import_feeds,
    listed_feeds,
    opml_text,
    read_opml,
    remove_feed,
    sync_feeds,
)
from apps.news_monitor.labelling import Labeller
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.lease import Heartbeat, Lease, LeaseHeldError, held_line
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.page_data import last_detector, reading
from apps.news_monitor.settings import SECTION, NewsSettings
from apps.news_monitor.tables import MIGRATIONS, REPLAY_DATABASE, VERSION_TABLE
from apps.news_monitor.telling import mail_address
from apps.news_monitor.why_no_alert import Why, why
from shared.atomic import write_text
from shared.errors import DataError, ModelNotFoundError, SettingsError
from shared.registry import Registry
from shared.settings import Home, database_url, load_section, settings_file
from shared.storage import create_engine, upgrade

NOTHING_JUDGED = DataError(
    "nothing has been judged yet: start the monitor with `triptych news run`, or name a replay's "
    "folder with --replay"
)


def news_settings() -> NewsSettings:
    """[news] of triptych.toml, over which the environment wins."""
    return load_section(NewsSettings, SECTION, file=settings_file(os.environ), environ=os.environ)


def released_labeller(
    reference: str, home: Home, clock: Callable[[], datetime], threads: int | None
) -> Labeller:
    """The labeller of a released model, named by its version."""
    version = Registry(home.models, clock).resolve(reference, app="news")
    return Labeller.load(version.path, home=home, threads=threads, name=version.reference)


def mailer_of(settings: NewsSettings, home: Home) -> Mailer:
    """SMTP where a host is set, with a copy of every mail in the outbox folder; else that alone."""
    archive = OutboxMailer(home.outbox)
    return SmtpMailer(settings.smtp, archive) if settings.smtp.host else archive


@contextmanager
def open_monitor(
    home: Home,
    *,
    model: str | None,
    clock: Callable[[], datetime],
    threads: int | None,
    say: Callable[[str], None],
    wait: bool,
) -> Iterator[tuple[Monitor, Heartbeat]]:
    """The monitor of the settings, and the lease on its database, which is ours while it is open.
    Without a model it collects articles until there is one.

    wait: where another monitor runs on the database, wait for its end; else raise.

    Raises:
        SettingsError: the settings, or no feed in them. ModelError: a named model that is broken.
        LeaseHeldError: another monitor runs, and this one is not to wait.
    """
    settings = news_settings()
    engine = create_engine(database_url(home, os.environ))
    try:
        upgrade(engine, MIGRATIONS, VERSION_TABLE)
        if not settings.feeds and settings.folder is None and not _imported(engine):
            raise SettingsError(
                "no feeds: list their addresses in triptych.toml, "
                '[news] feeds = ["https://…/rss"], or in TRIPTYCH_NEWS__FEEDS, or import a list '
                "with `triptych news feeds import FILE.opml`"
            )
        lease = Lease(engine, process_name())
        # First the lease, then the model: whoever waited may find a newer one.
        with leased(lease, clock, say, wait=wait) as heartbeat:
            labeller = _labeller(model, settings, home, clock, threads, say)
            monitor = Monitor(
                engine,
                settings,
                labeller,
                mailer_of(settings, home),
                candidate=lambda name: released_labeller(name, home, clock, threads),
            )
            yield monitor, heartbeat
    finally:
        engine.dispose()


def _imported(engine: Engine) -> bool:
    with engine.begin() as connection:
        return any(feed.origin == IMPORT for feed in listed_feeds(connection))


def import_opml(home: Home, file: Path, now: datetime) -> Imported:
    """List the feeds of an OPML file beside those of the settings. Raises DataError as read_opml
    does."""
    feeds = read_opml(file)
    with monitor_tables(home) as connection:
        sync_feeds(connection, news_settings().feeds, now)
        return import_feeds(connection, feeds, now)


def export_opml(home: Home, file: Path, now: datetime) -> int:
    """Write the feeds that are read as OPML; returns how many. Raises DataError for a place that
    cannot be written."""
    with monitor_tables(home) as connection:
        sync_feeds(connection, news_settings().feeds, now)
        feeds = [Feed(one.url, one.title) for one in listed_feeds(connection)]
    try:
        write_text(file, opml_text(feeds))
    except OSError as error:
        raise DataError(f"{file}: cannot be written: {error.strerror}") from None
    return len(feeds)


def feeds_of(home: Home, now: datetime) -> list[ListedFeed]:
    """The feeds that are read, those of the settings and the imported ones."""
    with monitor_tables(home) as connection:
        sync_feeds(connection, news_settings().feeds, now)
        return listed_feeds(connection)


def forget_feed(home: Home, url: str) -> None:
    """Read an imported feed no more. Raises DataError if it was not imported."""
    with monitor_tables(home) as connection:
        remove_feed(connection, url)


def corrected_stories(home: Home) -> list[Correction]:
    """What readers said that stories are, the newest first."""
    with monitor_tables(home) as connection:
        return corrections(connection)


def export_corrections(home: Home, folder: Path) -> Exported:
    """Write it for training. Raises DataError where there is nothing."""
    with monitor_tables(home) as connection:
        return export_examples(connection, folder)


@contextmanager
def monitor_tables(home: Home) -> Iterator[Connection]:
    """One transaction over the monitor's tables."""
    engine = create_engine(database_url(home, os.environ))
    try:
        upgrade(engine, MIGRATIONS, VERSION_TABLE)
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _labeller(
    model: str | None,
    settings: NewsSettings,
    home: Home,
    clock: Callable[[], datetime],
    threads: int | None,
    say: Callable[[str], None],
) -> LabelTexts | None:
    try:
        return released_labeller(model or settings.model, home, clock, threads)
    except ModelNotFoundError as error:
        if model is not None:
            raise
        say(f"{error}; articles are collected and labelled later")
        return None


def process_name() -> str:
    """This process among all that may share a database: a process number alone comes again."""
    return f"{socket.gethostname()[:100]}, process {os.getpid()}, {secrets.token_hex(3)}"


@contextmanager
def leased(
    lease: Lease, clock: Callable[[], datetime], say: Callable[[str], None], *, wait: bool
) -> Iterator[Heartbeat]:
    """The lease, taken now, renewed, and given back at the end.

    Raises LeaseHeldError if another has it and we are not to wait.
    """
    if wait:
        lease.wait(clock, time.monotonic, time.sleep, say)
    else:
        other = lease.acquire(clock())
        if other is not None:
            raise LeaseHeldError(
                f"{held_line(other)}; stop that one first, or leave the work to it"
            )
    with Heartbeat(lease, clock) as heartbeat:
        yield heartbeat


def asked_why(home: Home, topic: str, at: datetime | None, replayed: Path | None) -> Why:
    """What was decided about a topic, or a company by its name or ticker, from the running
    monitor's tables or those of a replay.

    Raises DataError: no such database, topic or moment.
    """
    with judged(home, replayed) as connection:
        return why(connection, title_of(connection, topic), at)


def followed_companies(home: Home, replayed: Path | None) -> list[CompanyLine]:
    """The companies as last judged, from the running monitor's tables or those of a replay.

    Raises DataError: no such database, or no company judged in it.
    """
    with judged(home, replayed) as connection:
        found = has_companies(connection)
        detector = last_detector(connection, companies=True) if found else None
        if detector is None:
            raise DataError(
                "no company has been judged yet: name a table `company,ticker,aliases` in "
                'triptych.toml, [news] companies = "companies.csv"'
            )
        return company_lines(connection, detector)


def judged_url(home: Home, replayed: Path | None) -> str:
    """Of the running monitor's database, or of a replay's. Raises DataError where there is none."""
    url = database_url(home, os.environ)
    if replayed is not None:
        file = replayed / REPLAY_DATABASE
        if not file.is_file():
            raise DataError(f"{replayed}: no replay was written here (no {REPLAY_DATABASE})")
        url = f"sqlite:///{file}"
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        raise NOTHING_JUDGED
    return url


@contextmanager
def judged(home: Home, replayed: Path | None) -> Iterator[Connection]:
    """That database, to read. Raises DataError where there is none, or nothing in it."""
    with reading(judged_url(home, replayed)) as connection:
        if connection is None:
            raise NOTHING_JUDGED
        yield connection


def send_test_mail(home: Home, to: str | None, now: datetime) -> str:
    """Send one mail as an alert would be sent; returns where it went.

    Raises:
        SettingsError: nobody to write to, or `to` is no address such as the settings take.
        ServiceError: the server refuses or is not reached.
    """
    settings = news_settings()
    try:
        recipients = settings.recipients if to is None else (mail_address(to),)
    except ValueError as error:
        raise SettingsError(f"--to: {error}") from None
    if not recipients:
        raise SettingsError(
            "nobody to write to: name an address with --to, or set [news] recipients"
        )
    message = EmailMessage()
    message["From"] = settings.mail_from
    message["To"] = ", ".join(recipients)
    message["Subject"] = "Triptych: test mail"
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid("test-mail", domain="triptych.localhost")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        "This is a test of the news monitor's mail settings.\n"
        "Alerts will reach this address in the same way.\n"
    )
    mailer_of(settings, home).send(message)
    place = f"{settings.smtp.host}:{settings.smtp.port}" if settings.smtp.host else home.outbox
    return f"test mail to {message['To']} handed to {place}"


def with_budget(settings: NewsSettings, per_week: float | None) -> NewsSettings:
    """The settings with another false-alarm budget, where one is given."""
    if per_week is None:
        return settings
    return settings.model_copy(update={"false_alarms_per_week": per_week})


def with_companies(settings: NewsSettings, listed: Path | None) -> NewsSettings:
    """The settings with another list of companies, where one is given."""
    if listed is None:
        return settings
    return settings.model_copy(update={"companies": str(listed)})
