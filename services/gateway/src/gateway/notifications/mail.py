"""Notices by email."""

import smtplib
import ssl
from collections.abc import Sequence
from datetime import UTC
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Final

from gateway.catalog.deliveries import Due
from gateway.notifications.mail_server import MailServer
from gateway.notifications.sending import SendError, line

_STEP_S: Final = 10.0
"""How long the server may take for each of its answers."""

_SUBJECT_CHARS: Final = 160


class Mailer:
    """Hands notices to a mail server. Calls block, for some steps of 10 s at most."""

    def __init__(self, server: MailServer, sent_by: str) -> None:
        self._server = server
        self._sender = sent_by

    def send(self, due: Due) -> str | None:
        """Send a notice; whom it did not reach, if the server took it for some only.

        Raises SendError.
        """
        to = due.target["to"]
        mail = message(due, self._sender, to)
        server = self._server
        try:
            with self._connected() as smtp:
                refused = smtp.send_message(mail, parseaddr(self._sender)[1], to)
        except smtplib.SMTPRecipientsRefused as error:
            final = all(code >= 500 for code, _ in error.recipients.values())
            raise SendError(_refused(error.recipients), final=final) from error
        except smtplib.SMTPAuthenticationError as error:
            raise SendError(f"{server.host} does not accept user and password") from error
        except smtplib.SMTPResponseException as error:
            said = f"{server.host} answered {error.smtp_code} {_text(error.smtp_error)}"
            raise SendError(said, final=error.smtp_code >= 500) from error
        except (smtplib.SMTPException, OSError) as error:
            raise SendError(f"no email by {server.host}:{server.port}: {error}") from error
        return _refused(refused) if refused else None

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        context = ssl.create_default_context()
        if server.tls:
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=_STEP_S, context=context
            )
        else:
            smtp = smtplib.SMTP(server.host, server.port, timeout=_STEP_S)
        try:
            smtp.ehlo_or_helo_if_needed()
            if not server.tls and not server.here:
                self._secure(smtp, context)
            if server.user:
                smtp.login(server.user, server.password)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _secure(self, smtp: smtplib.SMTP, context: ssl.SSLContext) -> None:
        if smtp.has_extn("starttls"):
            smtp.starttls(context=context)
        elif self._server.user:
            raise SendError(f"{self._server.host} offers no TLS: it gets no password", final=True)


def message(due: Due, sent_by: str, to: Sequence[str]) -> EmailMessage:
    """The email of a notice. Its Message-ID is the same for each try."""
    told = due.told
    mail = EmailMessage(policy=SMTP)
    # EmailMessage refuses line breaks in headers; other control characters it lets pass.
    mail["Subject"] = f"[Darkroom] {line(told.title)}"[:_SUBJECT_CHARS]
    mail["From"] = sent_by
    mail["To"] = ", ".join(to)
    mail["Date"] = format_datetime(told.occurred_at)
    domain = parseaddr(sent_by)[1].rpartition("@")[2]
    mail["Message-ID"] = f"<{told.notice_id}.{due.channel_id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday note answers
    about = " · ".join(map(line, (told.severity, told.kind, told.service, told.subject)))
    mail.set_content(
        f"{line(told.title)}\n\n{_paragraphs(told.detail)}\n\n-- \n{about}\n"
        f"{told.occurred_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC · notice {told.notice_id}\n"
        "All notices: darkroom notify list. Who is told what: darkroom notify channels.\n"
    )
    return mail


def _paragraphs(text: str) -> str:
    return "\n".join(line(one) for one in text.splitlines())


def _refused(recipients: dict[str, tuple[int, bytes]]) -> str:
    each = [f"{to}: {code} {_text(why)}" for to, (code, why) in recipients.items()]
    return "not taken for " + "; ".join(each)


def _text(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said
