"""Links that act, in mails: signed, bound to one alert, one action and one reader, and expiring.

A link is `URL/news/act/TOKEN`, the token `action-alert-recipient-expiry-signature`. The signature
is HMAC-SHA256 over all of these, the alert's own key and the reader's address: a link made for
another database, or for an address that has since changed hands, is void.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from apps.news_monitor.telling import LinkSettings
from shared.errors import DataError

PATH = "/news/act"
TOKEN = re.compile(r"([a-z_]{1,20})-(\d{1,10})-(\d{1,10})-(\d{1,11})-([A-Za-z0-9_-]{43})")
LAST_ID = 2**31 - 1
UNSUBSCRIBE_VALID = timedelta(days=366)


class Action(StrEnum):
    ACKNOWLEDGE = "acknowledge"
    SILENCE = "silence"
    USEFUL = "useful"
    NOT_USEFUL = "not_useful"
    UNSUBSCRIBE = "unsubscribe"
    SUBSCRIBE = "subscribe"


LABELS = {
    Action.ACKNOWLEDGE: "Acknowledge",
    Action.SILENCE: "Silence topic",
    Action.USEFUL: "Useful",
    Action.NOT_USEFUL: "Not useful",
}
"""What a mail offers for each alert, in its order."""


class LinkError(DataError):
    """A link that is not ours, or no longer valid."""


@dataclass(frozen=True)
class AlertRef:
    """Which alert: its number, and its key, which no alert of another database has. 0 and "": of
    a link about no alert."""

    id: int
    key: str


NO_ALERT = AlertRef(0, "")


@dataclass(frozen=True)
class Reader:
    """A recipient."""

    id: int
    email: str


@dataclass(frozen=True)
class Asked:
    """What a token says it is; nothing of it is to be believed before `Links.check`."""

    action: Action
    alert_id: int
    recipient_id: int
    expires: int
    signature: str


@dataclass(frozen=True)
class Links:
    """Makes and checks links. url: of the service that answers them; valid: how long they are."""

    url: str
    secret: bytes
    valid: timedelta

    @classmethod
    def of(cls, settings: LinkSettings) -> "Links | None":
        """None where the settings want no links."""
        if not settings.url:
            return None
        secret = settings.secret.get_secret_value().encode()
        return cls(settings.url.rstrip("/"), secret, timedelta(days=settings.valid_days))

    def token(self, action: Action, alert: AlertRef, reader: Reader, made: datetime) -> str:
        """The same for the same arguments: a mail that is sent again is the same mail."""
        subscribing = action in (Action.UNSUBSCRIBE, Action.SUBSCRIBE)
        expires = int((made + (UNSUBSCRIBE_VALID if subscribing else self.valid)).timestamp())
        signature = self._sign(action, alert, reader, expires)
        return f"{action}-{alert.id}-{reader.id}-{expires}-{signature}"

    def link(self, action: Action, alert: AlertRef, reader: Reader, made: datetime) -> str:
        return f"{self.url}{PATH}/{self.token(action, alert, reader, made)}"

    def check(self, asked: Asked, alert: AlertRef, reader: Reader, now: datetime) -> None:
        """Raises LinkError unless the token was made here for this alert and reader, and still
        holds."""
        genuine = self._sign(asked.action, alert, reader, asked.expires)
        if not hmac.compare_digest(genuine.encode(), asked.signature.encode()):
            raise LinkError(
                "this link is not valid; take it whole from the mail, or use the alerts page"
            )
        if now.timestamp() > asked.expires:
            over = datetime.fromtimestamp(asked.expires, UTC)
            raise LinkError(
                f"this link was valid until {over:%Y-%m-%d %H:%M} UTC; use the alerts page"
            )

    def _sign(self, action: Action, alert: AlertRef, reader: Reader, expires: int) -> str:
        parts = ("triptych news 1", action, alert.id, alert.key, reader.id, reader.email, expires)
        said = "\n".join(str(part) for part in parts)
        digest = hmac.new(self.secret, said.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True)
class MailLinks:
    """The links of one mail to one reader. made: when the mail fell due; they expire from then."""

    links: Links
    reader: Reader
    made: datetime

    def about(self, alert: AlertRef) -> list[tuple[str, str]]:
        """(label, address) of each thing one can do about an alert."""
        return [
            (label, self.links.link(action, alert, self.reader, self.made))
            for action, label in LABELS.items()
        ]

    @property
    def unsubscribe(self) -> str:
        return self.links.link(Action.UNSUBSCRIBE, NO_ALERT, self.reader, self.made)


def read_token(token: str) -> Asked:
    """Raises LinkError for what is no token of ours by its looks."""
    found = TOKEN.fullmatch(token)
    if found is None or found[1] not in list(Action) or max(int(found[2]), int(found[3])) > LAST_ID:
        raise LinkError(
            "this link is not whole; take it whole from the mail, or use the alerts page"
        )
    return Asked(Action(found[1]), int(found[2]), int(found[3]), int(found[4]), found[5])
