"""Who is told what, when and how: [news] links, subscriptions, reports and webhooks.

Moments of a day ("07:30", "22:00-07:00") are wall-clock time of their own time zone, also where the
clocks change.
"""

import re
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr, model_validator

from apps.news_monitor.thresholds import Severity
from shared.settings import Section

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
ADDRESS = re.compile(rf"(?=.{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")
"""What every mail server takes, without the extension for other scripts (RFC 6531)."""
CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
SEVERITIES: tuple[Severity, ...] = ("warning", "high", "critical")
SHORTEST_SECRET = 16
LONGEST_ADDRESS = 254


def mail_address(value: str) -> str:
    """Raises ValueError for what is no bare mail address, or none that every server takes."""
    if not ADDRESS.fullmatch(value) or len(value) > LONGEST_ADDRESS:
        said = f"expected mail addresses such as desk@bank.example, not {value!r}"
        raise ValueError(said + _wrong_with(value))
    return value


def _wrong_with(address: str) -> str:
    """What is easily overlooked in an address, and the way out; "" where it is plain to see."""
    name, at, domain = address.rpartition("@")
    if at and not domain.isascii():
        # Not converted here: two editions of IDNA lead "ß" to two different domains.
        return "; write its domain as it is registered, xn--..."
    if at and not name.isascii():
        return "; mail goes to ASCII letters, digits and signs only: give another address of theirs"
    if name and domain and not all(f"{name}.{domain}".split(".")):
        return "; no dot may begin or end either side of the @, or stand beside another"
    if len(name) > 64 or len(address) > LONGEST_ADDRESS:
        return f"; at most 64 characters before the @, {LONGEST_ADDRESS} in all"
    return ""


def web_address(value: str) -> str:
    """Raises ValueError for what is no http(s) address."""
    try:
        parts = urlsplit(value)
        # Asking for a port that is none raises too.
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or any(c.isspace() or not c.isprintable() for c in value):
        raise ValueError(f"expected http:// or https:// addresses, not {value!r}")
    return value


def _clock(value: str) -> str:
    if not CLOCK.fullmatch(value):
        raise ValueError(f"expected a time of day such as 07:30, not {value!r}")
    return value


def _quiet(value: str) -> str:
    begin, _, end = value.partition("-")
    if value and (not CLOCK.fullmatch(begin) or not CLOCK.fullmatch(end) or begin == end):
        raise ValueError(f"expected hours such as 22:00-07:00, not {value!r}")
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"expected a time zone such as Europe/London, not {value!r}") from None
    return value


def _long_enough(value: SecretStr) -> SecretStr:
    if 0 < len(value.get_secret_value()) < SHORTEST_SECRET:
        raise ValueError(f"expected a secret of {SHORTEST_SECRET} characters or more")
    return value


MailAddress = Annotated[str, AfterValidator(mail_address)]
WebAddress = Annotated[str, AfterValidator(web_address)]
Clock = Annotated[str, AfterValidator(_clock)]
QuietHours = Annotated[str, AfterValidator(_quiet)]
Zone = Annotated[str, AfterValidator(_zone)]
Secret = Annotated[SecretStr, AfterValidator(_long_enough)]


class LinkSettings(Section):
    """[news.links]: signed links in mails, answered by `triptych serve`.

    url: where readers reach that service; empty: mails have no such links. secret: signs them; it
    belongs into the environment: TRIPTYCH_NEWS__LINKS__SECRET.
    """

    url: str = ""
    secret: Secret = SecretStr("")
    valid_days: int = Field(default=30, ge=1, le=366)

    @model_validator(mode="after")
    def _both_or_none(self) -> "LinkSettings":
        if self.url:
            web_address(self.url)
            if not self.secret.get_secret_value():
                raise ValueError(
                    "links.url is set without links.secret: put 16 random characters or more into "
                    "TRIPTYCH_NEWS__LINKS__SECRET"
                )
        return self


class Choice(Section):
    """Which alerts are wanted. topics: of topics and companies, in any case; empty for all."""

    topics: tuple[str, ...] = ()
    min_severity: Severity = "warning"

    def wants(self, topic: str, severity: Severity) -> bool:
        chosen = not self.topics or topic.casefold() in {name.casefold() for name in self.topics}
        return chosen and SEVERITIES.index(severity) >= SEVERITIES.index(self.min_severity)


class Subscription(Choice):
    """[[news.subscriptions]]: the wishes of one of the recipients; without one all alerts, at once.

    digest: one mail a day at `digest_at`, except for critical alerts, which
    always come at once and in quiet hours too.
    """

    address: MailAddress
    mode: Literal["instant", "digest"] = "instant"
    digest_at: Clock = "08:00"
    quiet_hours: QuietHours = ""
    time_zone: Zone = "UTC"

    def waits_for_digest(self, severity: Severity) -> bool:
        return self.mode == "digest" and severity != "critical"

    def not_before(self, at: datetime, severity: Severity) -> datetime:
        """When a mail that falls due now may go: now, or at the end of the quiet hours."""
        if not self.quiet_hours or severity == "critical":
            return at
        begin, end = (time.fromisoformat(part) for part in self.quiet_hours.split("-"))
        local = at.astimezone(ZoneInfo(self.time_zone))
        clock = local.time()
        quiet = begin <= clock < end if begin < end else clock >= begin or clock < end
        if not quiet:
            return at
        over = local.replace(hour=end.hour, minute=end.minute, second=0, microsecond=0, fold=0)
        if end <= clock:
            over += timedelta(days=1)  # of wall-clock time: the zone's offset is found anew
        return over.astimezone(UTC)


class ReportSettings(Section):
    """[news.reports]: mails to those who run the monitor.

    to: who gets the daily heartbeat, at the time `heartbeat`; nobody by default. downtime_hours:
    after a pause as long as this one summary tells of what happened meanwhile, to the recipients
    and to these.
    """

    to: tuple[MailAddress, ...] = ()
    heartbeat: Clock = "07:00"
    time_zone: Zone = "UTC"
    downtime_hours: float = Field(default=3.0, ge=1.0, le=168.0)

    @property
    def downtime(self) -> timedelta:
        return timedelta(hours=self.downtime_hours)


class Webhook(Choice):
    """[[news.webhooks]]: where alerts are posted as JSON, signed with `secret`.

    allow_private: the address may lie in a private network, or on this machine.
    """

    url: WebAddress
    secret: Secret = Field(min_length=SHORTEST_SECRET)
    allow_private: bool = False
    timeout_seconds: float = Field(default=10.0, gt=0.0, le=120.0)


def last_due(clock: str, zone: str, now: datetime) -> datetime:
    """The latest moment at which the wall clock of the zone showed this time of day."""
    wanted = time.fromisoformat(clock)
    local = now.astimezone(ZoneInfo(zone))
    due = local.replace(hour=wanted.hour, minute=wanted.minute, second=0, microsecond=0, fold=0)
    if due.astimezone(UTC) > now:
        due -= timedelta(days=1)
    return due.astimezone(UTC)
