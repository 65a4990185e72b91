"""Certificates: what is made is trusted by a TLS client, and renewed in time."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vela_workflow.operator import certificates
from vela_workflow.operator.certificates import Bundle

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = certificates.service_names("workflow", "vela-system")
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return certificates.make(NAMES, NOW)


def shakes_hands(server: Bundle, trusted: Bundle, name: str, folder: Path) -> bool:
    """Whether a TLS client that trusts the authorities of ``trusted`` takes the certificate of ``server``."""
    file = folder / "serving.pem"
    file.write_bytes(server.served)
    offering = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    offering.load_cert_chain(file, file)
    asking = ssl.create_default_context(cadata=trusted.authorities.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server, server_hostname=name)
    serving = offering.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        finished = 0
        for side in (client, serving):
            try:
                side.do_handshake()
                finished += 1
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
        if finished == 2:
            return True
    return False


@pytest.mark.parametrize("name", ["workflow.vela-system.svc", "localhost", "127.0.0.1", "::1"])
def test_a_tls_client_trusts_it(name: str, tmp_path: Path) -> None:
    made = certificates.make(NAMES, datetime.now(UTC))
    assert shakes_hands(made, made, name, tmp_path)


def test_a_tls_client_refuses_other_names_and_other_authorities(tmp_path: Path) -> None:
    made, other = (certificates.make(NAMES, datetime.now(UTC)) for _ in range(2))
    assert not shakes_hands(made, made, "elsewhere.example.com", tmp_path)
    assert not shakes_hands(made, other, "localhost", tmp_path)


@pytest.mark.parametrize(
    ("change", "names", "when", "good"),
    [
        pytest.param(lambda bundle: bundle, NAMES, NOW, True, id="fresh"),
        pytest.param(lambda bundle: bundle, NAMES[:1], NOW, True, id="fewer-names"),
        pytest.param(lambda bundle: bundle, NAMES, NOW - timedelta(minutes=5), True, id="clock-behind"),
        pytest.param(lambda bundle: bundle, NAMES, NOW + 240 * DAY, True, id="before-two-thirds"),
        pytest.param(lambda bundle: bundle, NAMES, NOW + 250 * DAY, False, id="after-two-thirds"),
        pytest.param(lambda bundle: bundle, (*NAMES, "10.0.0.1"), NOW, False, id="another-name"),
        pytest.param(
            lambda bundle: dataclasses.replace(bundle, key=bundle.authority_key), NAMES, NOW, False, id="other-key"
        ),
        pytest.param(lambda bundle: dataclasses.replace(bundle, key=b"x"), NAMES, NOW, False, id="no-key"),
        pytest.param(
            lambda bundle: dataclasses.replace(bundle, certificate=b""), NAMES, NOW, False, id="no-certificate"
        ),
        pytest.param(
            lambda bundle: dataclasses.replace(bundle, authorities=certificates.make(NAMES, NOW).authorities),
            NAMES,
            NOW,
            False,
            id="other-authority",
        ),
        pytest.param(lambda bundle: dataclasses.replace(bundle, authorities=b""), NAMES, NOW, False, id="no-authority"),
    ],
)
def test_what_is_good(
    bundle: Bundle, change: Callable[[Bundle], Bundle], names: tuple[str, ...], when: datetime, good: bool
) -> None:
    assert certificates.is_good(change(bundle), names, when) is good


def test_a_renewed_certificate_keeps_the_authority(bundle: Bundle) -> None:
    later = NOW + 250 * DAY
    renewed = certificates.make(NAMES, later, previous=bundle)
    assert renewed.authorities == bundle.authorities
    assert renewed.certificate != bundle.certificate
    assert certificates.is_good(renewed, NAMES, later)


def test_a_worn_authority_is_replaced_and_stays_trusted_until_its_end(bundle: Bundle) -> None:
    later = NOW + 2500 * DAY
    renewed = certificates.make(NAMES, later, previous=bundle)
    assert renewed.authorities.endswith(bundle.authorities)
    assert renewed.authorities != bundle.authorities
    assert certificates.is_good(renewed, NAMES, later)
    much_later = certificates.make(NAMES, NOW + 5500 * DAY, previous=renewed)
    assert bundle.authorities not in much_later.authorities
    assert renewed.authorities.removesuffix(bundle.authorities) in much_later.authorities


def test_rubbish_is_replaced() -> None:
    rubbish = Bundle(b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", b"", b"", b"")
    assert certificates.is_good(certificates.make(NAMES, NOW, previous=rubbish), NAMES, NOW)
