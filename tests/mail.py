"""A mail server on a port of the loopback address, which keeps what it gets.

It takes mail from those who know the password, and none for addresses that begin with ``refused``; by ``script`` it
answers a command with other words than it would choose itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from email.message import EmailMessage
from typing import Any

from aiosmtpd import smtp

PASSWORD = "open sesame"


class Mailbox:
    """What came, and what is answered; ``script`` has words for ``mail`` and ``data``, ``break`` to hang up."""

    def __init__(self, **script: str) -> None:
        self.script = script
        self.mails: list[Any] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.port = 0

    @property
    def messages(self) -> list[EmailMessage]:
        """The mails as a reader sees them."""
        return [email.message_from_bytes(one.content, policy=email.policy.default) for one in self.mails]

    async def handle_MAIL(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self.script.get("mail", "250 OK")

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address.startswith("refused"):
            return "550 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(envelope)
        if self.script.get("data") == "break":
            session_transport: asyncio.Transport = server.transport
            session_transport.abort()
        return self.script.get("data", "250 OK")

    def log_in(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> smtp.AuthResult:
        self.logins.append((data.login, data.password))
        if data.password == PASSWORD.encode():
            return smtp.AuthResult(success=True)
        # Some servers repeat what they were sent.
        return smtp.AuthResult(success=False, handled=False, message=f"535 not you, {data.password.decode()}")


@contextlib.asynccontextmanager
async def listening(
    box: Mailbox, *, context: ssl.SSLContext | None = None, implicit: bool = False, auth: bool = True
) -> AsyncIterator[Mailbox]:
    """Serve ``box`` in this event loop; with a ``context`` over TLS, ``implicit`` for TLS from the start."""
    starttls = context is not None and not implicit

    def protocol() -> smtp.SMTP:
        return smtp.SMTP(
            box,
            hostname="localhost",
            tls_context=context if starttls else None,
            require_starttls=starttls,
            auth_required=auth,
            auth_require_tls=starttls,
            authenticator=box.log_in,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if implicit else None)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        await server.wait_closed()


@contextlib.contextmanager
def served() -> Iterator[Mailbox]:
    """A mailbox that is served by a thread of its own, for tests that await nothing."""
    loop, stack, box = asyncio.new_event_loop(), contextlib.AsyncExitStack(), Mailbox()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(stack.enter_async_context(listening(box)), loop).result(10)
    try:
        yield box
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
