"""Credentials from kubeconfigs and cluster Secrets; TLS is real, with a server that asks for client certificates."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import ssl
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vela_workflow.clusters import api, credentials, errors, secrets

JSON = dict[str, Any]


class Authority:
    """A certificate authority, and a server certificate and a client certificate that it signed."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.pem, _ = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        # The certificate holds another name than the address, as behind a tunnel.
        names = x509.SubjectAlternativeName(
            [x509.DNSName("api.example.com"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        self.server = self._leaf("api.example.com", names)
        self.client = self._leaf("alice", x509.SubjectAlternativeName([x509.DNSName("alice")]))

    def _leaf(self, name: str, extension: x509.ExtensionType) -> tuple[str, str]:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._sign(subject, ec.generate_private_key(ec.SECP256R1()), extension)

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> tuple[str, str]:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(hours=1))
        certificate = builder.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class Server:
    """An HTTPS server that tells who it takes the caller for."""

    def __init__(self) -> None:
        self.url = ""
        self.accepted = "token"

    async def version(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        certificate = request.transport.get_extra_info("peercert")
        header = request.headers.get("Authorization", "")
        if header.startswith("Bearer ") and header != f"Bearer {self.accepted}":
            return web.json_response({"reason": "Unauthorized", "message": "Unauthorized"}, status=401)
        return web.json_response({"user": dict(certificate["subject"][0])["commonName"] if certificate else header})


@pytest_asyncio.fixture
async def server(authority: Authority, tmp_path: Path) -> AsyncIterator[Server]:
    made = Server()
    application = web.Application()
    application.router.add_get("/version", made.version)
    runner = web.AppRunner(application)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # The certificates are as bare as those of many clusters.
    for name, text in zip(("crt", "key"), authority.server, strict=True):
        (tmp_path / name).write_text(text, encoding="ascii")
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    made.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def cluster_secret(kind: str, **data: str) -> JSON:
    labels = {secrets.CREDENTIAL_TYPE_LABEL: kind}
    values = {key.replace("__", "-").replace("_", "."): encoded(value) for key, value in data.items()}
    return {"metadata": {"name": "far", "labels": labels}, "data": values}


def kubeconfig(cluster: JSON, user: JSON) -> JSON:
    return {
        "current-context": "here",
        "contexts": [{"name": "other"}, {"name": "here", "context": {"cluster": "far", "user": "me"}}],
        "clusters": [{"name": "far", "cluster": cluster}],
        "users": [{"name": "me", "user": user}],
    }


def kubeconfig_secret(config: JSON) -> JSON:
    data = {"kubeconfig": encoded(yaml.safe_dump(config))}
    return {"metadata": {"name": "far", "labels": {secrets.KUBECONFIG_LABEL: ""}}, "data": data}


async def user_of(source: credentials.Source) -> str:
    """Who the server takes these credentials for."""
    client = api.connect("far", source)
    try:
        return str((await client.version())["user"])
    finally:
        await client.close()


async def test_kubevela_secrets_log_in(server: Server, authority: Authority) -> None:
    cert, key = authority.client
    common = {"endpoint": f"{server.url}/\n", "ca_crt": authority.pem}
    by_certificate = cluster_secret("X509Certificate", **common, tls_crt=cert, tls_key=key)
    assert await user_of(secrets.source(by_certificate, "Secret")) == "alice"
    by_token = cluster_secret("ServiceAccountToken", **common, token="token\n")
    assert await user_of(secrets.source(by_token, "Secret")) == "Bearer token"
    unverified = cluster_secret("ServiceAccountToken", endpoint=server.url, token="token")
    assert await user_of(secrets.source(unverified, "Secret")) == "Bearer token"


async def test_kubeconfigs_in_secrets_log_in(server: Server, authority: Authority) -> None:
    cluster = {"server": server.url, "certificate-authority-data": encoded(authority.pem)}
    cert, key = authority.client
    user = {"client-certificate-data": encoded(cert), "client-key-data": encoded(key)}
    for config, expected in [
        (kubeconfig(cluster, user), "alice"),
        (kubeconfig(cluster, {"token": "token"}), "Bearer token"),
        (kubeconfig({"server": server.url, "insecure-skip-tls-verify": True}, {"token": "token"}), "Bearer token"),
        (kubeconfig({**cluster, "tls-server-name": "api.example.com"}, user), "alice"),
        (kubeconfig(cluster, {"username": "bob", "password": "x"}), f"Basic {encoded('bob:x')}"),
        (kubeconfig(cluster, {}), ""),
    ]:
        assert await user_of(secrets.source(kubeconfig_secret(config), "Secret")) == expected


async def test_a_name_that_the_certificate_lacks_is_refused(server: Server, authority: Authority) -> None:
    cluster = {"server": server.url, "certificate-authority-data": encoded(authority.pem), "tls-server-name": "other"}
    with pytest.raises(errors.Unavailable, match="TLS"):
        await user_of(credentials.kubeconfig_text(kubeconfig(cluster, {"token": "token"}), "Secret"))


async def test_kubeconfig_files_log_in(server: Server, authority: Authority, tmp_path: Path) -> None:
    for name, text in {"ca": authority.pem, "crt": authority.client[0], "key": authority.client[1]}.items():
        (tmp_path / name).write_text(text, encoding="ascii")
    cluster = {"server": server.url, "certificate-authority": "ca"}
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(kubeconfig(cluster, {"client-certificate": "crt", "client-key": "key"})))
    assert await user_of(credentials.kubeconfig_file(str(path))) == "alice"
    source = credentials.local("", environment={"KUBECONFIG": str(path)})
    assert await user_of(source) == "alice"
    with pytest.raises(errors.Unavailable, match="missing"):
        await user_of(credentials.kubeconfig_file(str(tmp_path / "missing")))


def plugin(folder: Path, *, expires: str = "") -> Path:
    """A credential plugin that gives the token in the file ``token`` beside it."""
    path = folder / "plugin"
    expiry = {"expirationTimestamp": expires} if expires else {}
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib\n"
        f"token = pathlib.Path({str(folder / 'token')!r}).read_text()\n"
        f"status = {{'token': token, **{expiry!r}}}\n"
        "credential = {'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential', 'status': status}\n"
        "print(json.dumps(credential))\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


async def test_commands_of_a_secret_run_only_when_allowed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("token")
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin(tmp_path))}
    dynamic = cluster_secret("Dynamic", endpoint=server.url, exec=json.dumps(command))
    with pytest.raises(errors.Unavailable, match="switched off"):
        secrets.source(dynamic, "Secret vela-system/far")
    assert await user_of(secrets.source(dynamic, "Secret", allow_exec=True)) == "Bearer token"


async def test_a_refused_token_is_fetched_anew(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("token")
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin(tmp_path))}}
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(kubeconfig({"server": server.url, "insecure-skip-tls-verify": True}, user)))
    monkeypatch.setattr("vela_workflow.clusters.transport._REOPEN_SECONDS", 0.0)
    client = api.connect("far", credentials.kubeconfig_file(str(path)))
    assert (await client.version())["user"] == "Bearer token"
    server.accepted = "rotated"
    (tmp_path / "token").write_text("rotated")
    assert (await client.version())["user"] == "Bearer rotated"
    server.accepted = "nobody"
    with pytest.raises(errors.Unauthorized):
        await client.version()
    await client.close()


async def test_a_plugin_that_fails_is_told(server: Server, tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin(tmp_path))}}
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(kubeconfig({"server": server.url}, user)))
    with pytest.raises(errors.Unavailable, match="exec plugin"):
        await user_of(credentials.kubeconfig_file(str(path)))


async def test_tokens_that_expire_are_refreshed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("token")
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin(tmp_path, expires=soon))}
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(kubeconfig({"server": server.url}, {"exec": command})))
    source = credentials.kubeconfig_file(str(path))
    assert await source.authorization() == "Bearer token"
    (tmp_path / "token").write_text("next")
    assert await source.authorization() == "Bearer token", "asked again after a minute only"
    monkeypatch.setattr(credentials, "_REFRESH_SECONDS", 0.0)
    assert await source.authorization() == "Bearer next"


CLUSTER = {"server": "https://192.0.2.1"}
UNUSABLE = [
    pytest.param(cluster_secret("X509Certificate", endpoint="https://x"), "tls.crt is missing", id="no-certificate"),
    pytest.param(cluster_secret("ServiceAccountToken", token="x"), "endpoint is missing", id="no-endpoint"),
    pytest.param(cluster_secret("Dynamic", endpoint="https://x", exec="{"), "exec is not JSON", id="exec-not-json"),
    pytest.param(cluster_secret("Password", endpoint="https://x"), "known are", id="unknown-type"),
    pytest.param(kubeconfig_secret({}), "current-context", id="empty-kubeconfig"),
    pytest.param(kubeconfig_secret(kubeconfig({}, {})), "server", id="no-server"),
    pytest.param(kubeconfig_secret(kubeconfig(CLUSTER, {"tokenFile": "/etc/passwd"})), "names a file", id="token-file"),
    pytest.param(
        kubeconfig_secret(kubeconfig({**CLUSTER, "certificate-authority": "/ca"}, {})), "names a file", id="ca-file"
    ),
    pytest.param(
        kubeconfig_secret(kubeconfig({**CLUSTER, "certificate-authority-data": "é"}, {})), "not base64", id="ca-data"
    ),
    pytest.param({"metadata": {"labels": {}}, "data": {}}, "kubeconfig is missing", id="no-kubeconfig"),
    pytest.param(
        {"metadata": {"labels": {}}, "data": {"kubeconfig": encoded("{sesame")}}, "not YAML", id="kubeconfig-not-yaml"
    ),
    pytest.param(
        {"metadata": {"labels": {}}, "data": {"kubeconfig": encoded("[]")}}, "not a kubeconfig", id="kubeconfig-a-list"
    ),
]


@pytest.mark.parametrize(("secret", "problem"), UNUSABLE)
def test_unusable_secrets_say_why_without_quoting_them(secret: JSON, problem: str) -> None:
    with pytest.raises(errors.Unavailable, match=f"^Secret vela-system/far.*{problem}") as caught:
        secrets.source(secret, "Secret vela-system/far")
    assert "sesame" not in caught.value.message


def test_an_endpoint_behind_a_gateway_is_refused() -> None:
    body = cluster_secret("ServiceAccountToken", token="x")
    body["metadata"]["labels"][secrets.ENDPOINT_TYPE_LABEL] = "ClusterProxy"
    with pytest.raises(errors.Unavailable, match="cluster-gateway"):
        secrets.source(body, "Secret")


async def test_unusable_certificates_are_told() -> None:
    source = credentials.StaticSource("https://192.0.2.1", ca="not a certificate")
    with pytest.raises(errors.Unavailable, match="certificates"):
        await source.open()


def test_a_cluster_is_described_without_its_credentials() -> None:
    secret = cluster_secret("ServiceAccountToken", endpoint="https://x", token="sesame")
    secret["metadata"]["labels"]["region"] = "eu"
    secret["metadata"]["annotations"] = {secrets.ALIAS_ANNOTATION: "Far away"}
    cluster = secrets.describe(secret)
    assert (cluster.endpoint, cluster.credential, cluster.alias) == ("https://x", "ServiceAccountToken", "Far away")
    assert cluster.labels == {"region": "eu", secrets.CONTROL_PLANE_LABEL: "false"}
    assert "sesame" not in repr(cluster)
