"""The certificates of the admission server, made here and shared by all replicas.

An API server calls a webhook over TLS and trusts exactly the authorities that the webhook configuration holds. So there
is an authority of our own, which signs one serving certificate for the names of the Service. Both lie in a Secret: the
replica that comes first makes it, the others use what is there. Each replica looks at the Secret now and then. When two
thirds of its time are over, a certificate is made anew; the old authority stays in the bundle until it ends, so that
replicas which still serve the old certificate are trusted meanwhile. For the same reason the bundle goes into the
webhook configurations before the new certificate is served.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import ipaddress
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vela_workflow import errors
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.operator import background

logger = logging.getLogger(__name__)

JSON = dict[str, Any]

AUTHORITY_LIFE: Final = timedelta(days=3650)
SERVING_LIFE: Final = timedelta(days=365)

BACKDATED: Final = timedelta(minutes=10)
"""Certificates are valid from a little before they are made, since clocks differ."""

CHECK_EVERY: Final = 60.0
"""Seconds between two looks at the Secret and the webhook configurations."""

CONFIGURATION_KINDS: Final = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
CONFIGURATION_API: Final = "admissionregistration.k8s.io/v1"

_KEYS: Final = ("ca.crt", "ca.key", "tls.crt", "tls.key")


@dataclasses.dataclass(frozen=True, slots=True)
class Bundle:
    """PEM texts. ``authorities`` are the trusted certificates, the one that signs now first, with ``authority_key``."""

    authorities: bytes
    authority_key: bytes
    certificate: bytes
    key: bytes

    @property
    def served(self) -> bytes:
        """Key and certificate in one text, so that a file of both changes at once."""
        return self.key + self.certificate


def make(names: Iterable[str], now: datetime, *, previous: Bundle | None = None) -> Bundle:
    """A serving certificate for ``names`` (DNS names and IP addresses), signed by the authority of ``previous``.

    Without ``previous``, or when its authority has passed two thirds of its life, there is a new authority; the old
    ones stay trusted until they end.
    """
    trusted = [found for found in _certificates(previous) if found.not_valid_after_utc > now]
    authority_key = _private_key(previous.authority_key) if previous is not None else None
    if not trusted or authority_key is None or _is_worn(trusted[0], now) or not _belong(trusted[0], authority_key):
        authority_key = ec.generate_private_key(ec.SECP256R1())
        trusted.insert(0, _authority(authority_key, now))
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _serving(key, list(names), trusted[0], authority_key, now)
    return Bundle(
        authorities=b"".join(map(_pem, trusted)),
        authority_key=_key_pem(authority_key),
        certificate=_pem(certificate),
        key=_key_pem(key),
    )


def is_good(bundle: Bundle, names: Iterable[str], now: datetime) -> bool:
    """Whether the bundle serves all ``names``, holds together, and has not passed two thirds of its life."""
    trusted, served = _certificates(bundle), _loaded(bundle.certificate)
    key, authority_key = _private_key(bundle.key), _private_key(bundle.authority_key)
    if not trusted or not served or key is None or authority_key is None:
        return False
    certificate = served[0]
    try:
        certificate.verify_directly_issued_by(trusted[0])
    except (ValueError, TypeError, InvalidSignature):
        return False
    return (
        _belong(certificate, key)
        and _belong(trusted[0], authority_key)
        and set(map(_general_name, names)) <= _names_of(certificate)
        and not _is_worn(certificate, now)
        and not _is_worn(trusted[0], now)
    )


def service_names(service: str, namespace: str) -> tuple[str, ...]:
    """All names by which a Service is called inside its cluster, and those of this machine for local use."""
    inside = (
        service,
        f"{service}.{namespace}",
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}.svc.cluster.local",
    )
    return (*inside, "localhost", "127.0.0.1", "::1")


def _is_worn(certificate: x509.Certificate, now: datetime) -> bool:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now < start or now > start + (end - start) * 2 / 3


def _belong(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    return certificate.public_key() == key.public_key()


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    subject = _subject("vela-workflow admission authority")
    usage = _usage(key_cert_sign=True, crl_sign=True)
    return (
        _builder(subject, subject, key.public_key(), now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _serving(
    key: ec.EllipticCurvePrivateKey,
    names: list[str],
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
    return (
        _builder(_subject("vela-workflow admission"), authority.subject, key.public_key(), now, SERVING_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - BACKDATED).not_valid_after(now + life)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(**wanted: bool) -> x509.KeyUsage:
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in every})


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_of(certificate: x509.Certificate) -> set[x509.GeneralName]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return set()


def _certificates(bundle: Bundle | None) -> list[x509.Certificate]:
    return _loaded(bundle.authorities) if bundle is not None else []


def _loaded(text: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError:
        return []


def _private_key(text: bytes) -> ec.EllipticCurvePrivateKey | None:
    try:
        found = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError):
        return None
    return found if isinstance(found, ec.EllipticCurvePrivateKey) else None


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


# In the cluster.


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where certificates are kept and made known.

    ``configuration`` is the name of the two webhook configurations whose ``caBundle`` is kept right; empty means that
    somebody else does that.
    """

    namespace: str
    secret: str
    names: tuple[str, ...]
    configuration: str = ""


class Keeper:
    """Keeps Secret, webhook configurations and the file that is served in step with each other.

    ``path`` is that file: key and certificate, readable by this process only. Whoever serves it reads it again when it
    changes.
    """

    def __init__(
        self, client: ClusterClient, place: Place, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._client = client
        self._place = place
        self._clock = clock
        self._folder = tempfile.TemporaryDirectory(prefix="vela-workflow-admission-")
        self._task: asyncio.Task[None] | None = None
        self._told: set[str] = set()
        self.path = Path(self._folder.name) / "serving.pem"
        self.authorities = b""

    async def start(self) -> None:
        """Have a certificate to serve, and keep it good from now on; raises ``WorkflowError`` when there is none."""
        await self.check()
        self._task = background.keep_up("the care for the certificate", self._keep)

    async def close(self) -> None:
        """Stop looking and remove the file."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._folder.cleanup()

    async def check(self) -> None:
        """Look once: renew what is due, make the authorities known, then write the file."""
        bundle = await self._shared()
        await self._make_known(bundle.authorities)
        self.authorities = bundle.authorities
        if not self.path.exists() or self.path.read_bytes() != bundle.served:
            fresh = self.path.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_bytes(bundle.served)
            fresh.replace(self.path)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY)
            try:
                await self.check()
            except errors.WorkflowError as error:
                logger.warning("the admission certificate could not be checked: %s", error)

    async def _shared(self) -> Bundle:
        """The bundle of the Secret, made or renewed when it is not good; another replica may come first."""
        place = self._place
        while True:
            try:
                secret = await self._client.get("v1", "Secret", place.namespace, place.secret)
            except cluster_errors.NotFound:
                secret = None
            found = _bundle(secret) if secret is not None else None
            if found is not None and is_good(found, place.names, self._clock()):
                return found
            made = make(place.names, self._clock(), previous=found)
            try:
                if secret is None:
                    await self._client.create(self._manifest(made))
                else:
                    await self._client.replace(self._manifest(made, secret["metadata"]["resourceVersion"]))
            except (cluster_errors.AlreadyExists, cluster_errors.Conflict):
                continue
            logger.info("made a certificate for the admission webhooks, in Secret %s/%s", place.namespace, place.secret)
            return made

    def _manifest(self, bundle: Bundle, version: str = "") -> JSON:
        metadata = {"name": self._place.secret, "namespace": self._place.namespace}
        if version:
            metadata["resourceVersion"] = version
        values = (bundle.authorities, bundle.authority_key, bundle.certificate, bundle.key)
        data = {key: base64.b64encode(value).decode() for key, value in zip(_KEYS, values, strict=True)}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": data}

    async def _make_known(self, authorities: bytes) -> None:
        if not self._place.configuration:
            return
        for kind in CONFIGURATION_KINDS:
            try:
                await self._trust(kind, base64.b64encode(authorities).decode())
            except errors.WorkflowError as error:
                # Without a webhook configuration everything works, admission excepted; it is tried again.
                if kind not in self._told:
                    logger.warning("the webhooks of %s %s are not served: %s", kind, self._place.configuration, error)
                self._told.add(kind)
            else:
                self._told.discard(kind)

    async def _trust(self, kind: str, authorities: str) -> None:
        """Put the bundle into every webhook of a configuration that has another one."""
        name = self._place.configuration
        found = await self._client.get(CONFIGURATION_API, kind, "", name)
        changes = [
            {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": authorities}
            for index, webhook in enumerate(found.get("webhooks") or ())
            if webhook["clientConfig"].get("caBundle") != authorities
        ]
        if changes:
            unchanged = {
                "op": "test",
                "path": "/metadata/resourceVersion",
                "value": found["metadata"]["resourceVersion"],
            }
            await self._client.patch(CONFIGURATION_API, kind, "", name, [unchanged, *changes], type="json")


def _bundle(secret: Mapping[str, Any]) -> Bundle | None:
    data = secret.get("data") or {}
    try:
        return Bundle(*(base64.b64decode(data[key]) for key in _KEYS))
    except (KeyError, ValueError):
        return None
