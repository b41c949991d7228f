"""[news] of triptych.toml: feeds, the false-alarm budget, the mail server, who is written to."""

import re
from datetime import date, timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from apps.news_monitor.episodes import EpisodeRule
from apps.news_monitor.surges import SurgeRule
from apps.news_monitor.telling import (
    ADDRESS,
    LinkSettings,
    ReportSettings,
    Subscription,
    Webhook,
    mail_address,
    web_address,
)
from shared.settings import Section

SECTION = "news"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
LEAST_COVERAGE = 0.6
"""Of a topic's usual items, those whose sources must deliver."""


class FetchSettings(Section):
    """[news.fetch]: how feeds are read. Bytes are counted after unpacking.

    longest_minutes: a feed that says it is made anew more seldom than every_minutes is asked so
    seldom, up to this. parse_seconds: of processor time, after which a feed is given up.
    allow_hosts: hosts (or host:port) that may resolve to private or loopback addresses.
    """

    every_minutes: float = Field(default=15.0, ge=1.0, le=1440.0)
    longest_minutes: float = Field(default=60.0, ge=1.0, le=1440.0)
    connect_seconds: float = Field(default=10.0, gt=0.0)
    total_seconds: float = Field(default=30.0, gt=0.0)
    parse_seconds: int = Field(default=10, ge=1, le=600)
    max_bytes: int = Field(default=5 * 1024 * 1024, ge=1024)
    max_entries: int = Field(default=1000, ge=1)
    max_redirects: int = Field(default=5, ge=0)
    parallel: int = Field(default=4, ge=1, le=32)
    allow_hosts: tuple[str, ...] = ()
    user_agent: str = Field(default="Triptych-News-Monitor/0.1", min_length=1)

    @property
    def overdue(self) -> timedelta:
        """A feed without a good answer for so long is down: several tries have failed."""
        longest = max(4 * self.every_minutes, 2 * self.longest_minutes)
        return max(timedelta(hours=2), timedelta(minutes=longest))


class SmtpSettings(Section):
    """[news.smtp]: the mail server. Without a host mails go only into the outbox folder.

    The password belongs into the environment: TRIPTYCH_NEWS__SMTP__PASSWORD. data_seconds is how
    long the server may take to confirm a mail it has received (RFC 5321, 4.5.3.2.6: 10 minutes).
    """

    host: str = ""
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "plain"] = "starttls"
    username: str = ""
    password: SecretStr = SecretStr("")
    timeout_seconds: float = Field(default=30.0, gt=0.0)
    data_seconds: float = Field(default=600.0, gt=0.0)
    ca_file: str = ""

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> "SmtpSettings":
        if self.username and self.security == "plain" and self.host not in LOOPBACK:
            raise ValueError(
                f"smtp.security = 'plain' would send the password to {self.host} readable by "
                "anyone; use 'starttls' or 'tls', or leave username empty"
            )
        return self


class SurgeSettings(Section):
    """[news.surges]: what is asked of a surge (see SurgeRule), and how often it is looked for.

    min_coverage: a topic of whose usual items less than this part comes from sources that deliver
    is not judged (0 judges it always). holidays: days as quiet as a Sunday, such as 2026-12-25.
    """

    cadence_hours: Literal[1, 2, 3, 4, 6, 8, 12, 24] = 1
    windows_hours: tuple[int, ...] = Field(default=(24, 48, 72), min_length=1)
    baseline_days: int = Field(default=84, ge=14, le=730)
    min_history_days: int = Field(default=14, ge=7)
    min_negative: int = Field(default=4, ge=1)
    min_publishers: int = Field(default=3, ge=1)
    min_coverage: float = Field(default=LEAST_COVERAGE, ge=0.0, le=1.0)
    holidays: tuple[date, ...] = ()

    @field_validator("windows_hours")
    @classmethod
    def _sensible_windows(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 1 <= hours <= 336 for hours in value):
            raise ValueError("expected windows of 1 to 336 hours")
        return tuple(sorted(set(value)))

    @property
    def rule(self) -> SurgeRule:
        return SurgeRule(
            windows_hours=self.windows_hours,
            baseline_days=self.baseline_days,
            min_history_days=self.min_history_days,
            min_negative=self.min_negative,
            min_publishers=self.min_publishers,
            holidays=tuple(sorted(set(self.holidays))),
        )

    @property
    def episode_rule(self) -> EpisodeRule:
        """Looked at once or twice a day, a surge need not be seen twice before it is told."""
        return EpisodeRule(
            confirmations=1 if self.cadence_hours >= 12 else 2,
            cooldown_hours=max(self.windows_hours),
        )


class StorySettings(Section):
    """[news.stories]: when headlines of different words are one story.

    same_event: likeness from which they tell of the same event, 1 for the same vector and 0 for
    what is unrelated; 0 joins none. hours: between the first of a story and another of it.
    """

    same_event: float = Field(default=0.85, ge=0.0, le=1.0)
    hours: int = Field(default=48, ge=1, le=72)

    @field_validator("same_event")
    @classmethod
    def _not_everything(cls, value: float) -> float:
        if 0.0 < value < 0.5:
            raise ValueError("below 0.5 unrelated events would be one; expected 0, or 0.5 to 1")
        return value


class NewsSettings(Section):
    """[news]: the whole monitor.

    model: name in the registry, or name@version. topics: those followed; empty follows all the
    model knows. false_alarms_per_week: mails a week, over all topics together, that the desk will
    bear without a reason. folder: where files of news are dropped. dashboard_url: where readers
    reach `triptych dashboard`. remind_hours: an alert that still fires and that nobody has
    acknowledged for so long is mailed again, twice at most; 0 never.
    companies: a table of those followed beside the topics, see companies.py;
    company_false_alarms_per_week: the same of them, on top.
    """

    model: str = Field(default="news", min_length=1)
    feeds: tuple[str, ...] = ()
    folder: Path | None = None
    topics: tuple[str, ...] = ()
    companies: str = ""
    recipients: tuple[str, ...] = ()
    mail_from: str = "Triptych News Monitor <triptych@localhost>"
    dashboard_url: str = "http://127.0.0.1:8501"
    remind_hours: float = Field(default=0.0, ge=0.0, le=168.0)
    false_alarms_per_week: float = Field(default=1.0, gt=0.0, le=100.0)
    company_false_alarms_per_week: float = Field(default=1.0, gt=0.0, le=100.0)
    fetch: FetchSettings = FetchSettings()
    smtp: SmtpSettings = SmtpSettings()
    surges: SurgeSettings = SurgeSettings()
    stories: StorySettings = StorySettings()
    links: LinkSettings = LinkSettings()
    subscriptions: tuple[Subscription, ...] = ()
    reports: ReportSettings = ReportSettings()
    webhooks: tuple[Webhook, ...] = ()

    @field_validator("feeds")
    @classmethod
    def _web_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            web_address(url)
        return tuple(dict.fromkeys(value))

    @field_validator("recipients")
    @classmethod
    def _mail_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            mail_address(address)
        return tuple(dict.fromkeys(value))

    @field_validator("mail_from")
    @classmethod
    def _sender(cls, value: str) -> str:
        bare = re.search(r"<([^<>]*)>\s*$", value)
        address = bare[1] if bare else value
        # A comma or semicolon in a name without quotation marks ends it for mail programs.
        read = "\n" not in value and "\r" not in value and parseaddr(value)[1] == address
        if not read or not ADDRESS.fullmatch(address):
            raise ValueError("expected an address such as News <news@bank.example>")
        return value

    @model_validator(mode="after")
    def _wishes_of_recipients(self) -> "NewsSettings":
        wishing = [one.address for one in self.subscriptions]
        for address in wishing:
            if address not in self.recipients:
                raise ValueError(
                    f"subscriptions.address {address!r} is none of the recipients; add it there too"
                )
            if wishing.count(address) > 1:
                raise ValueError(f"subscriptions.address {address!r} is there twice")
        urls = [hook.url for hook in self.webhooks]
        if len(set(urls)) < len(urls):
            raise ValueError("webhooks.url: the same address is there twice")
        return self

    @property
    def late_after(self) -> timedelta:
        """A moment that is judged later than this was missed: its alerts are no news any more."""
        cadence = timedelta(hours=self.surges.cadence_hours + 1)
        return max(self.reports.downtime, cadence)

    def subscription(self, address: str) -> Subscription:
        """The wishes of a recipient: all alerts, at once, where none are set."""
        found = [one for one in self.subscriptions if one.address == address]
        return found[0] if found else Subscription(address=address)
