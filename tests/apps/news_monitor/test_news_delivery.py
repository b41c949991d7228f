"""Mails against real servers on loopback: one that takes, refuses, is late, speaks TLS."""

import email
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, Literal

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import SecretStr

from apps.news_monitor.delivery import OutboxMailer, SmtpMailer, eml_name
from apps.news_monitor.owed import DeliveryError, RefusedForGoodError, UnknownOutcomeError
from apps.news_monitor.settings import SmtpSettings


class Box:
    """Takes mails; each answer can be replaced, and the last one delayed."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.rcpt = "250 OK"
        self.data = "250 OK"
        self.delay = 0.0

    async def handle_RCPT(  # noqa: N802
        self, _s: SMTP, _n: Session, envelope: Envelope, address: str, _o: list[str]
    ) -> str:
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, _s: SMTP, _n: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.mails.append(envelope.content)
        time.sleep(self.delay)
        return self.data


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, with its key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"),
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def context(folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return made


Start = Callable[..., SmtpSettings]


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def start(box: Box) -> Iterator[Start]:
    """Starts a server with the box behind it and gives the settings to reach it."""
    running: list[Controller] = []

    def begin(
        security: Literal["starttls", "tls", "plain"] = "plain", **options: Any
    ) -> SmtpSettings:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        controller = Controller(box, hostname="127.0.0.1", port=port, ready_timeout=30, **options)
        controller.start()
        running.append(controller)
        return SmtpSettings(
            host="localhost", port=port, security=security, timeout_seconds=2, data_seconds=0.5
        )

    yield begin
    for controller in running:
        controller.stop()


def mail(text: str = "Hello\n.\n..two dots\nbye\n") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "News <news@bank.example>"
    message["To"] = "desk@bank.example"
    message["Subject"] = "Test"
    message["Message-ID"] = "<alert-1.r1.u1.abc@bank.example>"
    message.set_content(text)
    return message


def test_a_mail_arrives_whole_with_its_dots(start: Start, box: Box) -> None:
    SmtpMailer(start()).send(mail())
    (raw,) = box.mails
    got = email.message_from_bytes(raw, policy=default)
    assert got["Message-ID"] == "<alert-1.r1.u1.abc@bank.example>"
    assert got.get_content().replace("\r\n", "\n") == "Hello\n.\n..two dots\nbye\n"


def test_a_copy_of_what_was_taken_goes_into_the_archive(
    start: Start, box: Box, tmp_path: Path
) -> None:
    SmtpMailer(start(), OutboxMailer(tmp_path)).send(mail())
    assert len(box.mails) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["alert-1.r1.u1.abc.eml"]


def test_a_full_archive_does_not_make_a_taken_mail_a_failure(
    start: Start, box: Box, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    SmtpMailer(start(), OutboxMailer(blocked)).send(mail())
    assert len(box.mails) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("450 try later", DeliveryError), ("550 no such user", RefusedForGoodError)],
)
def test_a_refused_recipient_is_told_apart_by_its_code(
    start: Start, box: Box, answer: str, kind: type[Exception]
) -> None:
    box.rcpt = answer
    settings = start()
    with pytest.raises(DeliveryError) as caught:
        SmtpMailer(settings).send(mail())
    assert type(caught.value) is kind
    assert str(caught.value) == (
        f"mail server localhost:{settings.port} refused the recipient desk@bank.example: {answer}"
    )
    assert box.mails == []


def test_a_mail_refused_after_it_was_read_was_not_taken(start: Start, box: Box) -> None:
    box.data = "554 spam"
    settings = start()
    with pytest.raises(RefusedForGoodError) as caught:
        SmtpMailer(settings).send(mail())
    assert str(caught.value) == f"mail server localhost:{settings.port} refused the mail: 554 spam"


def test_a_late_confirmation_leaves_the_outcome_open(start: Start, box: Box) -> None:
    box.delay = 1.2
    settings = start()
    with pytest.raises(UnknownOutcomeError) as caught:
        SmtpMailer(settings).send(mail())
    assert str(caught.value) == (
        f"mail server localhost:{settings.port} did not confirm the mail (no answer in time): "
        "it may or may not have arrived"
    )
    assert len(box.mails) == 1


def test_nobody_there_is_one_clear_line() -> None:
    settings = SmtpSettings(host="127.0.0.1", port=9, security="plain", timeout_seconds=1)
    with pytest.raises(DeliveryError) as caught:
        SmtpMailer(settings).send(mail())
    assert str(caught.value) == (
        "mail server 127.0.0.1:9 cannot be reached: Connection refused; "
        "check [news.smtp] host, port and security"
    )


def test_starttls_is_required_where_it_is_set(start: Start) -> None:
    settings = start("starttls")
    with pytest.raises(DeliveryError) as caught:
        SmtpMailer(settings).send(mail())
    assert str(caught.value).startswith(
        f"mail server localhost:{settings.port}: STARTTLS extension not supported by server"
    )
    assert "set [news.smtp] security to 'tls'" in str(caught.value)


def test_starttls_with_a_trusted_certificate(start: Start, box: Box, certificate: Path) -> None:
    settings = start("starttls", tls_context=context(certificate), require_starttls=True)
    trusted = settings.model_copy(update={"ca_file": str(certificate / "cert.pem")})
    SmtpMailer(trusted).send(mail())
    assert len(box.mails) == 1


def test_tls_from_the_start(start: Start, box: Box, certificate: Path) -> None:
    settings = start("tls", ssl_context=context(certificate))
    trusted = settings.model_copy(update={"ca_file": str(certificate / "cert.pem")})
    SmtpMailer(trusted).send(mail())
    assert len(box.mails) == 1


def test_an_untrusted_certificate_is_refused(start: Start, box: Box, certificate: Path) -> None:
    settings = start("starttls", tls_context=context(certificate))
    with pytest.raises(DeliveryError) as caught:
        SmtpMailer(settings).send(mail())
    assert str(caught.value) == (
        f"mail server localhost:{settings.port}: its certificate is not trusted "
        "(self-signed certificate)"
    )
    assert box.mails == []


def test_a_wrong_password_is_told_and_not_shown(start: Start, certificate: Path) -> None:
    def check(*arguments: Any) -> AuthResult:
        login = arguments[-1]
        assert isinstance(login, LoginPassword)
        return AuthResult(success=login.password == b"right", handled=False)

    settings = start(
        "starttls", tls_context=context(certificate), authenticator=check, auth_required=True
    )
    known = {"ca_file": str(certificate / "cert.pem"), "username": "news"}
    wrong = settings.model_copy(update={**known, "password": SecretStr("secret1")})
    with pytest.raises(DeliveryError) as caught:
        SmtpMailer(wrong).send(mail())
    assert "refused the user name or password: 535" in str(caught.value)
    assert "secret1" not in str(caught.value)
    SmtpMailer(settings.model_copy(update={**known, "password": SecretStr("right")})).send(mail())


def test_the_outbox_keeps_one_file_for_each_mail(tmp_path: Path) -> None:
    box = OutboxMailer(tmp_path / "outbox")
    box.send(mail())
    box.send(mail())
    (file,) = (tmp_path / "outbox").iterdir()
    assert b"Message-ID: <alert-1.r1.u1.abc@bank.example>\r\n" in file.read_bytes()


def test_an_outbox_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DeliveryError) as caught:
        OutboxMailer(blocked).send(mail())
    assert str(caught.value) == f"{blocked}: the mail cannot be written here (File exists)"


def test_a_message_id_cannot_leave_the_folder() -> None:
    message = mail()
    del message["Message-ID"]
    message["Message-ID"] = "<../../etc/x@y>"
    assert eml_name(message) == "_.._etc_x.eml"
