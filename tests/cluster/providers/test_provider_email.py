"""Mails, handed to a real SMTP server."""

from __future__ import annotations

import contextlib
import email
import email.policy
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.cluster.providers.certificates import Authority
from tests.mail import PASSWORD, Mailbox, listening
from tests.unit.providers.support import call
from vela_workflow import errors
from vela_workflow.providers.contract import Outcome
from vela_workflow.providers.email import send

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

Start = Callable[..., Awaitable[Mailbox]]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    async with contextlib.AsyncExitStack() as stack:

        async def started(
            *, context: ssl.SSLContext | None = None, implicit: bool = False, auth: bool = True, **script: str
        ) -> Mailbox:
            served = listening(Mailbox(**script), context=context, implicit=implicit, auth=auth)
            return await stack.enter_async_context(served)

        yield started


async def mail(server: Mailbox, *, to: list[str] | None = None, tolerant: bool = False, **sender: Any) -> Outcome:
    args = {
        "from": {
            "address": "robot@example.com",
            "alias": "Der Roböter",
            "password": PASSWORD,
            "host": "127.0.0.1",
            "port": server.port,
            **sender,
        },
        "to": to or ["a@example.com", "b@example.com"],
        "content": {"subject": "Grüße", "body": "<b>Schöne</b> Grüße"},
        "tolerant": tolerant,
    }
    return await send.send(call(args))


async def test_a_mail_arrives_whole(start: Start) -> None:
    server = await start()
    assert await mail(server) == Outcome()
    (envelope,) = server.mails
    assert envelope.mail_from == "robot@example.com"
    assert envelope.rcpt_tos == ["a@example.com", "b@example.com"]
    assert server.logins == [(b"robot@example.com", PASSWORD.encode())]
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert message["From"] == "Der Roböter <robot@example.com>"
    assert message["To"] == "a@example.com, b@example.com"
    assert message["Subject"] == "Grüße"
    assert message["Date"] == "Fri, 02 Jan 2026 03:04:05 +0000"
    assert message.get_content_type() == "text/html"
    assert message.get_content().strip() == "<b>Schöne</b> Grüße"


async def test_the_same_mail_has_the_same_identity(start: Start) -> None:
    server = await start()
    await mail(server)
    await mail(server)
    first, second = (email.message_from_bytes(envelope.content)["Message-ID"] for envelope in server.mails)
    assert first == second


@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "TLS from the start"])
async def test_tls_is_used(implicit: bool, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority.make()
    trusted = tmp_path / "ca.crt"
    trusted.write_bytes(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    server = await start(context=authority.server_context(tmp_path), implicit=implicit)
    if implicit:
        monkeypatch.setattr(send, "IMPLICIT_TLS", server.port)
    await mail(server)
    assert len(server.mails) == 1
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.crt"))
    (tmp_path / "other.crt").write_bytes(Authority.make().pem)
    with pytest.raises(errors.Transient, match="certificate verify failed"):
        await mail(server)
    assert len(server.mails) == 1


async def test_a_wrong_password_is_told_but_not_shown(start: Start) -> None:
    server = await start()
    with pytest.raises(errors.Transient, match=r"refused the login of robot@example\.com \(535\)") as raised:
        await mail(server, password="guessed")
    assert "guessed" not in str(raised.value)
    assert server.mails == []


async def test_a_password_does_not_travel_in_the_clear(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "LOOPBACK", frozenset())
    server = await start()
    with pytest.raises(errors.Transient, match="the password is not sent in the clear"):
        await mail(server)
    assert server.logins == []


async def test_a_server_without_logins_needs_none(start: Start) -> None:
    server = await start(auth=False)
    await mail(server, password="")
    assert (len(server.mails), server.logins) == (1, [])


async def test_a_refused_recipient_does_not_stop_the_others(start: Start) -> None:
    server = await start()
    outcome = await mail(server, to=["refused@example.com", "a@example.com"])
    assert [envelope.rcpt_tos for envelope in server.mails] == [["a@example.com"]]
    (warning,) = outcome.warnings
    assert "the server refused refused@example.com (550)" in warning


async def test_no_recipient_that_is_taken_is_an_error(start: Start) -> None:
    server = await start()
    with pytest.raises(errors.Transient, match="the server refused all recipients"):
        await mail(server, to=["refused@example.com"])


@pytest.mark.parametrize("script", [{"mail": "451 later"}, {"data": "452 full"}], ids=["sender", "message"])
async def test_what_the_server_refuses_may_be_sent_again(script: dict[str, str], start: Start) -> None:
    server = await start(**script)
    with pytest.raises(errors.Transient, match=r"later|full"):
        await mail(server)


async def test_a_connection_that_breaks_while_the_mail_is_under_way(start: Start) -> None:
    server = await start(data="break")
    with pytest.raises(errors.OutcomeUnknown, match="may have been sent and is not sent again"):
        await mail(server)
    assert len(server.mails) == 1


async def test_no_server_at_all(start: Start) -> None:
    with pytest.raises(errors.Transient, match=r"^mail to a@example\.com, b@example\.com by 127\.0\.0\.1:1: "):
        await mail(Mailbox(), port=1)


@pytest.mark.parametrize(
    ("script", "sender", "expected"),
    [
        ({}, {}, {"sent": True}),
        ({"mail": "451 later"}, {}, {"sent": False, "err": "later"}),
        ({"data": "break"}, {}, {"sent": False, "err": "may have been sent"}),
        ({}, {"port": 1}, {"sent": False, "err": "by 127.0.0.1:1: "}),
        ({}, {"address": "a\nb@c"}, {"sent": False, "err": "cannot be sent"}),
    ],
    ids=["sent", "refused", "unknown", "no server", "no mail"],
)
async def test_whoever_is_tolerant_is_told_what_became_of_it(
    script: dict[str, str], sender: dict[str, Any], expected: dict[str, Any], start: Start
) -> None:
    server = await start(**script)
    value = (await mail(server, tolerant=True, **sender)).value
    assert value is not None
    assert expected.pop("err", "") in value.pop("err", "")
    assert value == expected


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"tolerant": "yes"}, "tolerant must be true or false"),
        ({"to": []}, "to must be a list of addresses"),
        ({"from": {}}, r"from\.address"),
        ({"from": {"address": "a@b\nBcc: c@d", "host": "h", "port": 25}}, "cannot be sent"),
        ({"content": {"subject": "a\r\nBcc: c@d", "body": ""}}, "cannot be sent"),
        ({"from": {"address": "a@b", "host": "h", "port": "25"}}, r"from\.port must be an integer"),
    ],
)
async def test_arguments_that_make_no_mail_are_final(args: dict[str, Any], message: str) -> None:
    good = {
        "from": {"address": "a@b", "host": "h", "port": 25},
        "to": ["c@d"],
        "content": {"subject": "s", "body": "b"},
    }
    with pytest.raises(errors.Terminal, match=message):
        await send.send(call({**good, **args}))
