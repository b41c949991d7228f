"""Handing a mail over: to a server (SMTP) or into a folder of .eml files.

What matters is how it ends. SMTP has one moment of doubt: after the final dot the server may have
taken the mail though its answer never came. Sending again then risks a second copy, not sending a
lost alert; the two are told apart here and decided in `owed`.
"""

import logging
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import getaddresses, parseaddr
from pathlib import Path
from typing import Protocol

from apps.news_monitor.owed import DeliveryError, RefusedForGoodError, UnknownOutcomeError
from apps.news_monitor.settings import SmtpSettings
from shared.atomic import replacing

LOG = logging.getLogger(__name__)


class Mailer(Protocol):
    """Where mails go. `send` connects, hands over and disconnects."""

    def send(self, message: EmailMessage) -> None:
        """Raises DeliveryError or one of its kinds."""


class OutboxMailer:
    """Writes each mail as an .eml file named by its Message-ID: a second attempt replaces it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def send(self, message: EmailMessage) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.folder / eml_name(message)) as part:
                part.write_bytes(message.as_bytes(policy=SMTP))
        except OSError as error:
            raise DeliveryError(
                f"{self.folder}: the mail cannot be written here ({error.strerror})"
            ) from None


def eml_name(message: EmailMessage) -> str:
    """A file name from the Message-ID: letters, digits, dot, dash; others become "_"."""
    identity = str(message["Message-ID"]).strip("<> ").partition("@")[0]
    safe = "".join(c if c.isalnum() or c in ".-" else "_" for c in identity)
    return f"{safe.strip('.') or 'mail'}.eml"


class SmtpMailer:
    """A mail server by SMTP, with STARTTLS required, TLS from the start, or in the clear."""

    def __init__(self, settings: SmtpSettings, archive: OutboxMailer | None = None) -> None:
        """archive: keeps a copy of every mail the server has taken."""
        self._settings = settings
        self._archive = archive

    def send(self, message: EmailMessage) -> None:
        sender = parseaddr(str(message["From"]))[1]
        recipients = [address for _, address in getaddresses([str(message["To"])])]
        with self._connected() as server:
            self._envelope(server, sender, recipients)
            self._data(server, message.as_bytes(policy=SMTP))
        if self._archive is not None:
            try:
                self._archive.send(message)
            except DeliveryError as error:
                # The server has it: a full disk must not make it a mail that is sent again.
                LOG.warning("%s", error)

    @property
    def _place(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._settings.ca_file or None)

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        settings = self._settings
        try:
            if settings.security == "tls":
                server: smtplib.SMTP = smtplib.SMTP_SSL(
                    settings.host,
                    settings.port,
                    timeout=settings.timeout_seconds,
                    context=self._context(),
                )
            else:
                server = smtplib.SMTP(
                    settings.host, settings.port, timeout=settings.timeout_seconds
                )
        except smtplib.SMTPResponseException as error:
            raise DeliveryError(
                f"mail server {self._place} refused the connection: {_answer(error)}"
            ) from None
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(
                f"mail server {self._place} cannot be reached: {_reason(error)}; "
                "check [news.smtp] host, port and security"
            ) from None
        try:
            self._greet(server)
            yield server
        finally:
            _leave(server)

    def _greet(self, server: smtplib.SMTP) -> None:
        settings = self._settings
        try:
            server.ehlo_or_helo_if_needed()
            if settings.security == "starttls":
                server.starttls(context=self._context())
                server.ehlo()
            if settings.username:
                server.login(settings.username, settings.password.get_secret_value())
        except smtplib.SMTPNotSupportedError as error:
            raise DeliveryError(
                f"mail server {self._place}: {error}; set [news.smtp] security to 'tls', or to "
                "'plain' on a trusted network"
            ) from None
        except smtplib.SMTPAuthenticationError as error:
            raise DeliveryError(
                f"mail server {self._place} refused the user name or password: {_answer(error)}"
            ) from None
        except smtplib.SMTPResponseException as error:
            raise DeliveryError(f"mail server {self._place}: {_answer(error)}") from None
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"mail server {self._place}: {_reason(error)}") from None

    def _envelope(self, server: smtplib.SMTP, sender: str, recipients: list[str]) -> None:
        try:
            _expect(server.mail(sender), 250, f"{self._place} refused the sender {sender}")
            for recipient in recipients:
                answer = server.rcpt(recipient)
                if answer[0] not in (250, 251):
                    _expect(answer, 250, f"{self._place} refused the recipient {recipient}")
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"mail server {self._place}: {_reason(error)}") from None

    def _data(self, server: smtplib.SMTP, content: bytes) -> None:
        try:
            answer = server.docmd("DATA")
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"mail server {self._place}: {_reason(error)}") from None
        _expect(answer, 354, f"{self._place} refused the mail")
        try:
            server.send(_dot_stuffed(content))
        except (OSError, smtplib.SMTPException) as error:
            # Without the final dot the server has nothing it could deliver.
            raise DeliveryError(f"mail server {self._place}: {_reason(error)}") from None
        try:
            server.send(b".\r\n")
            if server.sock is not None:
                server.sock.settimeout(self._settings.data_seconds)
            answer = server.getreply()
        except (OSError, smtplib.SMTPException) as error:
            raise UnknownOutcomeError(
                f"mail server {self._place} did not confirm the mail ({_reason(error)}): "
                "it may or may not have arrived"
            ) from None
        _expect(answer, 250, f"{self._place} refused the mail")


def _dot_stuffed(content: bytes) -> bytes:
    """Lines that begin with a dot get a second one; the last line ends with CRLF."""
    lines = content.split(b"\r\n")
    stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines)
    return stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n"


def _expect(answer: tuple[int, bytes], wanted: int, what: str) -> None:
    code, text = answer
    if code == wanted:
        return
    said = f"mail server {what}: {code} {_decoded(text)}"
    if code // 100 == 5:
        raise RefusedForGoodError(said)
    raise DeliveryError(said)


def _leave(server: smtplib.SMTP) -> None:
    """Says goodbye without caring for the answer: the mail's fate is known by now."""
    if server.sock is not None:
        try:
            server.sock.settimeout(2.0)
            server.quit()
        except (OSError, smtplib.SMTPException):
            pass
    server.close()


def _answer(error: smtplib.SMTPResponseException) -> str:
    text = error.smtp_error
    return f"{error.smtp_code} {_decoded(text if isinstance(text, bytes) else text.encode())}"


def _decoded(text: bytes) -> str:
    return " ".join(text.decode("utf-8", "replace").split())[:200]


def _reason(error: Exception) -> str:
    # smtplib wraps a time-out of the socket into a lost connection, with the words in its text.
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return "no answer in time"
    if isinstance(error, smtplib.SMTPResponseException):
        return _answer(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__
