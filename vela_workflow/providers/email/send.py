"""``#SendEmail`` (ops 3.4).

A mail is a ``once`` operation: sent and answered within the operation, and never again in the same attempt of the step.
What the SMTP server says decides what a failure means. Until the message itself goes out nothing has happened, so it
may be tried again; when the connection breaks after that, nobody knows whether the mail was taken. Messages name
server and recipients and never the password, which some servers repeat in their answers.
"""

from __future__ import annotations

import asyncio
import email.message
import email.policy
import email.utils
import hashlib
import ssl
from dataclasses import dataclass, field
from typing import Final

import aiosmtplib

from vela_workflow import errors
from vela_workflow.providers import arguments
from vela_workflow.providers.contract import Call, Outcome

IMPLICIT_TLS: Final = 465
TIMEOUT: Final = 30.0
"""Seconds that the server has for each answer."""

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Where a password may go without TLS: it does not leave the machine."""

POLICY: Final = email.policy.SMTP.clone(cte_type="7bit")
MESSAGE_ID_DOMAIN: Final = "vela-workflow"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail and the server that is to send it."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    recipients: tuple[str, ...]
    message: email.message.EmailMessage

    def __str__(self) -> str:
        return f"mail to {', '.join(self.recipients)} by {self.host}:{self.port}"


async def send(call: Call) -> Outcome:
    """``#SendEmail``: sends one mail to all recipients.

    A recipient whom the server refuses is a warning as long as there are others. Raises ``Transient`` when nothing was
    sent and ``OutcomeUnknown`` when the connection broke while the message was under way. With ``tolerant`` nothing is
    raised and nothing tried again: the result says whether it was ``sent``, and ``err`` why not.
    """
    tolerant = call.args.get("tolerant", False)
    if not isinstance(tolerant, bool):
        raise arguments.wrong(f"tolerant must be true or false, not {tolerant!r}")
    if not tolerant:
        return Outcome(warnings=await _send(_mail(call)))
    try:
        warnings = await _send(_mail(call))
    except errors.WorkflowError as error:
        return Outcome({"sent": False, "err": error.message})
    return Outcome({"sent": True}, warnings=warnings)


async def _send(mail: Mail) -> tuple[str, ...]:
    """Send a mail; returns a warning for each recipient whom the server refused."""
    client = aiosmtplib.SMTP(
        hostname=mail.host,
        port=mail.port,
        use_tls=mail.port == IMPLICIT_TLS,
        start_tls=None,
        timeout=TIMEOUT,
        tls_context=await asyncio.to_thread(_trust),
    )
    try:
        await _open(client, mail)
        warnings = await _address(client, mail)
        await _deliver(client, mail)
        return warnings
    finally:
        client.close()


def _mail(call: Call) -> Mail:
    sender = arguments.struct(call.args, "from")
    content = arguments.struct(call.args, "content")
    address = arguments.text(sender, "address", where="from")
    alias = arguments.optional_text(sender, "alias", where="from")
    recipients = arguments.items(call.args, "to")
    if not recipients or not all(isinstance(one, str) and one for one in recipients):
        raise arguments.wrong("to must be a list of addresses with at least one in it")
    message = email.message.EmailMessage(POLICY)
    try:
        message["From"] = email.utils.formataddr((alias, address))
        message["To"] = ", ".join(recipients)
        message["Subject"] = arguments.optional_text(content, "subject", where="content")
    except ValueError as error:
        raise arguments.wrong(f"the mail's addresses or subject cannot be sent: {error}") from error
    message["Date"] = email.utils.format_datetime(call.now)
    # The same for each attempt to send it, so that a receiver can tell a repetition.
    message["Message-ID"] = f"<{hashlib.sha256(call.key.encode()).hexdigest()[:32]}@{MESSAGE_ID_DOMAIN}>"
    message.set_content(arguments.optional_text(content, "body", where="content"), subtype="html")
    return Mail(
        host=arguments.text(sender, "host", where="from"),
        port=arguments.integer(sender, "port", where="from"),
        user=address,
        password=arguments.optional_text(sender, "password", where="from"),
        recipients=tuple(recipients),
        message=message,
    )


def _trust() -> ssl.SSLContext:
    """TLS that trusts whom the machine trusts, also a company's authority whose certificates are a bit too plain."""
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    return context


async def _open(client: aiosmtplib.SMTP, mail: Mail) -> None:
    """Connect, protect the connection if the server offers it, and log in."""
    try:
        await client.connect()
        if client.is_ehlo_or_helo_needed:  # Anew after STARTTLS: what was offered before it counts no more.
            await client.ehlo()
        if mail.password and client.supports_extension("auth"):
            protected = client.get_transport_info("sslcontext") is not None
            if not protected and mail.host not in LOOPBACK:
                raise errors.Transient(f"{mail}: the server offers no TLS; the password is not sent in the clear")
            await client.login(mail.user, mail.password)
    except aiosmtplib.SMTPAuthenticationError as error:
        raise errors.Transient(f"{mail}: the server refused the login of {mail.user} ({error.code})") from None
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise errors.Transient(f"{mail}: {_said(error, mail)}") from None


async def _address(client: aiosmtplib.SMTP, mail: Mail) -> tuple[str, ...]:
    """Name sender and recipients; returns a warning for each recipient whom the server refused."""
    refused = []
    try:
        await client.mail(mail.user)
        for recipient in mail.recipients:
            try:
                await client.rcpt(recipient)
            except aiosmtplib.SMTPRecipientRefused as error:
                refused.append(f"{mail}: the server refused {recipient} ({error.code})")
    except (aiosmtplib.SMTPException, OSError) as error:
        raise errors.Transient(f"{mail}: {_said(error, mail)}") from None
    if len(refused) == len(mail.recipients):
        raise errors.Transient(f"{mail}: the server refused all recipients")
    return tuple(refused)


async def _deliver(client: aiosmtplib.SMTP, mail: Mail) -> None:
    """Hand the message over. From here on a broken connection leaves its fate unknown."""
    try:
        await client.data(mail.message.as_bytes())
    except aiosmtplib.SMTPResponseException as error:
        raise errors.Transient(f"{mail}: {_said(error, mail)}") from None
    except (aiosmtplib.SMTPException, OSError) as error:
        text = f"{mail}: {_said(error, mail)}; the mail may have been sent and is not sent again"
        raise errors.OutcomeUnknown(text) from None


def _said(error: Exception, mail: Mail) -> str:
    text = str(error) or type(error).__name__
    return text.replace(mail.password, "***") if mail.password else text
