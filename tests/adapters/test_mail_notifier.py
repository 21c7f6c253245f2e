"""E-mail against a real SMTP server: what arrives, what an answer means, no secret in sight."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import traceback
from dataclasses import replace
from email import message_from_bytes, policy

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from pydantic import SecretStr

from tickhandler_dagster.adapters.notifiers.building import build_notifiers
from tickhandler_dagster.adapters.notifiers.mail import MailNotifier
from tickhandler_dagster.market.alerts.messages import Facts, Line, Message, Transition
from tickhandler_dagster.market.alerts.policy import MailSecurity
from tickhandler_dagster.market.alerts.policy_form import parse_alerts
from tickhandler_dagster.market.alerts.signal import IncidentKind, Urgency
from tickhandler_dagster.market.errors import PermanentError, TransientError

PASSWORD = "pa55word-that-must-not-show"
ADDRESSES = {"type": "email", "host": "h", "from": "a@b", "to": "a@b"}


def made():
    facts = Facts("7 of 40 instruments are missing", "http://ui/runs/1", (("why", "x"),))
    return Message(
        message_id="abc123",
        sequence=1,
        transition=Transition.OPENED,
        kind=IncidentKind.FAILED_CHECK,
        urgency=Urgency.ERROR,
        group="raw_ticks/trades complete binance",
        at_us=60_000_000,
        since_us=0,
        until_us=None,
        counts={Transition.OPENED: 2},
        lines=(Line("subject 0 <a&b>", 0, None, facts), Line("subject 1", 0, None, facts)),
        link="http://ui/runs/1",
    )


def told_of(error):
    """Everything that a log with a traceback would show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error.__dict__)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Mailbox:
    """Takes mails; the answers to recipients and data can be set."""

    def __init__(self):
        self.mails, self.answer, self.recipient_answer = [], "250 OK", "250 OK"

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802
        if self.recipient_answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient_answer

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802
        if self.answer.startswith("250"):
            self.mails.append(envelope)
        return self.answer


def authenticated(_server, _session, _envelope, _mechanism, data):
    return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


@pytest.fixture
def mailbox():
    box = Mailbox()
    box.port = free_port()
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=box.port,
        authenticator=authenticated,
        auth_require_tls=False,
    )
    controller.start()
    yield box
    controller.stop()


def mailer(port, password=PASSWORD, **options):
    mail = {"type": "email", "host": "127.0.0.1", "port": port, "security": "none"}
    people = {"from": "tick@example.com", "to": ["a@example.com", "b@example.com"]}
    login = {"user_env": "SMTP_USER", "password_env": "SMTP_PASSWORD"} if password else {}
    alerts = parse_alerts({"notifiers": {"mail": mail | people | login | options}})
    secrets = {"SMTP_USER": SecretStr("user"), "SMTP_PASSWORD": SecretStr(password or "")}
    return build_notifiers(alerts, secrets)["mail"]


def test_a_mail_arrives_as_text_and_html_under_an_id_that_stays(mailbox):
    notifier = mailer(mailbox.port)
    notifier.send(made())
    notifier.send(made())
    first, second = (
        message_from_bytes(mail.content, policy=policy.default) for mail in mailbox.mails
    )
    assert mailbox.mails[0].rcpt_tos == ["a@example.com", "b@example.com"]
    assert first["Subject"].startswith("ERROR check failed: raw_ticks/trades complete binance, 2")
    assert first["Message-ID"] == second["Message-ID"] == "<abc123@tickhandler>"
    assert first["Date"] == second["Date"] == "Thu, 01 Jan 1970 00:01:00 +0000"
    text, html = (part.get_content() for part in first.iter_parts())
    assert "- subject 0 <a&b> (since 1970-01-01 00:00 UTC): 7 of 40" in text
    assert "subject 0 &lt;a&amp;b&gt;" in html


def test_a_mail_needs_no_login(mailbox):
    mailer(mailbox.port, password=None).send(made())
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize(
    ("answer", "recipient_answer", "expected"),
    [
        ("554 spam", "250 OK", PermanentError),
        ("451 later", "250 OK", TransientError),
        ("250 OK", "550 nobody", PermanentError),
        ("250 OK", "450 busy", TransientError),
    ],
)
def test_the_mail_servers_code_decides_whether_to_try_again(
    mailbox, answer, recipient_answer, expected
):
    mailbox.answer, mailbox.recipient_answer = answer, recipient_answer
    with pytest.raises(expected, match="mail: the mail server answered "):
        mailer(mailbox.port).send(made())
    assert mailbox.mails == []


def test_a_wrong_password_does_not_show(mailbox, caplog):
    caplog.set_level(logging.DEBUG)
    notifier = mailer(mailbox.port, password=f"{PASSWORD}-wrong")
    with pytest.raises(PermanentError, match="mail: the mail server answered 535") as caught:
        notifier.send(made())
    assert PASSWORD not in told_of(caught.value) + repr(notifier) + caplog.text


def test_a_mail_server_without_encryption_is_refused_where_the_policy_asks_for_it(mailbox):
    with pytest.raises(PermanentError, match="lacks what the policy asks for"):
        mailer(mailbox.port, security="starttls").send(made())
    with pytest.raises(TransientError, match="mail: out of reach"):
        mailer(mailbox.port, security="ssl", timeout_s=1).send(made())
    assert mailbox.mails == []


def test_a_mail_server_that_is_silent_or_absent_is_tried_again():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (silent.getsockname()[1], free_port()):
            with pytest.raises(TransientError, match="mail: out of reach"):
                mailer(port, timeout_s=0.3).send(made())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of this machine's own, made for the test: no key lies in the repository."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


def server_tls(certificate):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return tls


@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_a_protected_connection_carries_login_and_mail_and_checks_the_certificate(
    certificate, security
):
    box, tls = Mailbox(), server_tls(certificate)
    port = free_port()
    kept = {"hostname": "127.0.0.1", "port": port, "authenticator": authenticated}
    if security == "ssl":
        controller = Controller(box, ssl_context=tls, auth_require_tls=False, **kept)
    else:
        controller = Controller(box, tls_context=tls, require_starttls=True, **kept)
    trusted = ssl.create_default_context(cafile=certificate / "cert.pem")
    controller.start()
    try:
        spec = parse_alerts({"notifiers": {"mail": ADDRESSES}}).notifiers["mail"]
        spec = replace(spec, host="127.0.0.1", port=port, security=MailSecurity(security))
        login = {"user": SecretStr("user"), "password": SecretStr(PASSWORD)}
        MailNotifier(spec, tls=trusted, **login).send(made())
        with pytest.raises(PermanentError, match="certificate is not trusted"):
            MailNotifier(spec, **login).send(made())
    finally:
        controller.stop()
    assert len(box.mails) == 1
