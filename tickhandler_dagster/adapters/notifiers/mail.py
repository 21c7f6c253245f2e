"""Messages as e-mail, text and simple HTML, through an SMTP server.

What belongs here: one mail and one conversation with the server. What does not: sentences.
"""

from __future__ import annotations

import html
import smtplib
import ssl
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime

from tickhandler_dagster.adapters.notifiers.refusals import out_of_reach
from tickhandler_dagster.adapters.tardis_errors import Secret
from tickhandler_dagster.market.alerts.messages import Message, cut
from tickhandler_dagster.market.alerts.policy import MailSecurity, NotifierSpec
from tickhandler_dagster.market.alerts.wording import headline, lines_of, plain_text
from tickhandler_dagster.market.errors import PermanentError, TickhandlerError, TransientError

DEFAULT_PORT = {MailSecurity.STARTTLS: 587, MailSecurity.SSL: 465, MailSecurity.NONE: 25}

_MAX_SUBJECT = 200
_PERMANENT = range(500, 600)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MailNotifier:
    """Sends mails through one server.

    Args:
        spec: Server, addresses and protection.
        user: Name to log in with; None for no login.
        password: Its password.
        tls: How certificates are checked; None for the system's authorities.
    """

    def __init__(
        self,
        spec: NotifierSpec,
        *,
        user: Secret | None = None,
        password: Secret | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._spec = spec
        self._user = user
        self._password = password
        self._tls = tls

    def __repr__(self) -> str:
        return f"MailNotifier({self._spec.name!r})"

    def send(self, message: Message) -> None:
        """Send the mail to all recipients.

        Raises:
            TransientError: the server is out of reach or asks to come back.
            PermanentError: it refuses login, sender or every recipient.
        """
        try:
            with self._connection() as server:
                if self._user is not None and self._password is not None:
                    server.login(self._user.get_secret_value(), self._password.get_secret_value())
                server.send_message(mail(message, self._spec))
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _text in error.recipients.values()]
            raise self._answered(max(codes), "no recipient was taken") from None
        except smtplib.SMTPResponseException as error:
            raise self._answered(error.smtp_code, type(error).__name__) from None
        except smtplib.SMTPNotSupportedError:
            raise PermanentError(
                self._spec.name,
                "the mail server lacks what the policy asks for",
                expected=f"security {self._spec.security} and a login where one is given",
                remedy="Correct security, port or user_env",
            ) from None
        except ssl.SSLCertVerificationError:
            raise PermanentError(
                self._spec.name, "the mail server's certificate is not trusted", remedy="Check host"
            ) from None
        except (smtplib.SMTPException, OSError) as error:
            raise out_of_reach(self._spec.name, error) from None

    def _connection(self) -> smtplib.SMTP:
        spec = self._spec
        port = spec.port or DEFAULT_PORT[spec.security]
        if spec.security is MailSecurity.NONE:
            return smtplib.SMTP(spec.host, port, timeout=spec.timeout_s)
        tls = self._tls or ssl.create_default_context()
        if spec.security is MailSecurity.SSL:
            return smtplib.SMTP_SSL(spec.host, port, timeout=spec.timeout_s, context=tls)
        server = smtplib.SMTP(spec.host, port, timeout=spec.timeout_s)
        try:
            server.starttls(context=tls)
        except (smtplib.SMTPException, OSError):
            server.close()
            raise
        return server

    def _answered(self, code: int, fact: str) -> TickhandlerError:
        subject, said = self._spec.name, f"the mail server answered {code}: {fact}"
        if code in _PERMANENT:
            return PermanentError(subject, said, remedy="Check login and addresses")
        return TransientError(subject, said, remedy="It is sent again later")


def mail(message: Message, spec: NotifierSpec) -> EmailMessage:
    """The mail of a message: the same bytes for every attempt but for the boundary of its parts."""
    made = EmailMessage()
    made["Subject"] = cut(" ".join(headline(message).split()), _MAX_SUBJECT)
    made["From"] = spec.sender
    made["To"] = ", ".join(spec.recipients)
    made["Date"] = format_datetime(_EPOCH + timedelta(microseconds=message.at_us))
    made["Message-ID"] = f"<{message.message_id}@tickhandler>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(plain_text(message))
    made.add_alternative(_html(message), subtype="html")
    return made


def _html(message: Message) -> str:
    items = "".join(f"<li>{html.escape(text)}</li>" for text in lines_of(message))
    address = html.escape(message.link, quote=True)
    link = f'<p><a href="{address}">Open in Dagster</a></p>' if address else ""
    title = html.escape(headline(message))
    return f"<p><b>{title}</b></p><ul>{items}</ul>{link}<p>Message {message.message_id}</p>"
