"""TLS material from a Secret (ops 3.3, decisions 32).

Keys: ``ca.crt``, and ``client.crt`` with ``client.key`` where the server wants to know its client. A value is PEM, or
PEM in base64 once more: older workflows had to write it so. Whatever is wrong with it is an error; a request that
should be protected is never sent without protection.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from pathlib import Path
from typing import Final

from vela_workflow import errors
from vela_workflow.providers import secrets
from vela_workflow.providers.contract import Call

AUTHORITY: Final = "ca.crt"
CERTIFICATE: Final = "client.crt"
KEY: Final = "client.key"
_PEM: Final = b"-----BEGIN "


async def context(call: Call, name: str, namespace: str) -> ssl.SSLContext:
    """The TLS settings that a Secret describes; raises ``Transient`` that names Secret and key when they are no use."""
    if "/" in name:
        namespace, name = name.split("/", 1)
    secret = await secrets.read(call, name, namespace=namespace, purpose="tls_config")
    authority, certificate, key = (_pem(secret, which) for which in (AUTHORITY, CERTIFICATE, KEY))
    if (certificate is None) is not (key is None):
        missing = CERTIFICATE if certificate is None else KEY
        raise _useless(secret, f"it has no {missing}; a client certificate needs both {CERTIFICATE} and {KEY}")
    if authority is None and certificate is None:
        raise _useless(secret, f"it has neither {AUTHORITY} nor {CERTIFICATE} and {KEY}")
    result = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if authority is None:
            result.load_default_certs()
        else:
            result.load_verify_locations(cadata=authority.decode("ascii"))
        if certificate is not None and key is not None:
            _load_pair(result, certificate, key)
    except (ssl.SSLError, ValueError) as error:
        raise _useless(secret, f"its certificates cannot be used ({type(error).__name__})") from None
    return result


def _pem(secret: secrets.Secret, which: str) -> bytes | None:
    value = secret.get(which)
    if not value:
        return None
    if _PEM in value:
        return value
    try:
        inner = base64.b64decode(b"".join(value.split()), validate=True)
    except binascii.Error:
        inner = b""
    if _PEM in inner:
        return inner
    raise _useless(secret, f"{which} is neither PEM nor PEM in base64")


def _load_pair(result: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a client certificate. The ``ssl`` module takes it from a file only: a private, short-lived one."""
    handle, name = tempfile.mkstemp(prefix="client-", suffix=".pem")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(certificate + b"\n" + key)
        result.load_cert_chain(name)
    finally:
        Path(name).unlink()


def _useless(secret: secrets.Secret, problem: str) -> errors.Transient:
    return errors.Transient(f'TLS material in secret "{secret.namespace}/{secret.name}": {problem}')
