"""Reading single values from Secrets of the local cluster, for operations that take credentials by reference."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from vela_workflow import errors
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.providers.contract import Call


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret with its values still in base64, as the API gives them."""

    namespace: str
    name: str
    data: dict[str, str]

    def get(self, key: str) -> bytes | None:
        """The value under a key, ``None`` when there is none; raises ``Transient`` when it is no base64."""
        written = self.data.get(key)
        if written is None:
            return None
        try:
            return base64.b64decode(written, validate=True)
        except binascii.Error:
            raise errors.Transient(f'key "{key}" of secret "{self.namespace}/{self.name}" is no base64') from None


async def read(call: Call, name: str, *, namespace: str = "", purpose: str) -> Secret:
    """Read a Secret, by default from the run's namespace; ``purpose`` completes the message when there is none.

    Raises ``Transient`` when there is no such Secret: it may still be created.
    """
    where = namespace or call.run_namespace
    try:
        found = await call.clusters.client("").get("v1", "Secret", where, name)
    except cluster_errors.NotFound:
        raise errors.Transient(f'secret "{name}" not found in namespace "{where}" for {purpose}') from None
    return Secret(where, name, found.get("data") or {})
