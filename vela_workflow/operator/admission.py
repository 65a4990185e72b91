"""The admission webhooks: what an API server asks before it stores a run, a Workflow or a definition.

Every replica answers, leader or not, through the server that kopf brings. All that is decided is decided in
``admission_review``; here it is put into the words of kopf and Kubernetes. Nothing depends on it: without webhooks the
same problems show in the status of runs, and a fault of ours lets an object through rather than stop everybody's work.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import kopf

from vela_workflow.api import constants
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.operator import certificates
from vela_workflow.operator.admission_review import Policy, Reviewer
from vela_workflow.runs.definitions import Definitions
from vela_workflow.settings import Settings

logger = logging.getLogger(__name__)

JSON = dict[str, Any]

REFUSED: Final = 422
"""HTTP status of a refusal: understood, and wrong."""

PATIENCE: Final = 10
"""Seconds that an API server waits for an answer; a review ends before that."""

RENEWAL_NOTICED: Final = 5.0
"""Seconds until a renewed certificate is served."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook: a kind, and whether it is validated or changed."""

    kind: constants.Kind
    mutating: bool

    @property
    def id(self) -> str:
        """Path of its address; those for runs are the ones that the Go implementation serves (engine 9)."""
        verb = "mutating" if self.mutating else "validating"
        return f"{verb}-{self.kind.group.replace('.', '-')}-{self.kind.version}-{self.kind.plural}"

    @property
    def name(self) -> str:
        """Its name in a webhook configuration, which users see when it refuses something."""
        verb = "mutating" if self.mutating else "validating"
        return f"{verb}.{self.kind.plural}.{self.kind.group}"


WEBHOOKS: Final = (
    Webhook(constants.WORKFLOW_RUN, mutating=True),
    Webhook(constants.WORKFLOW, mutating=True),
    Webhook(constants.WORKFLOW_RUN, mutating=False),
    Webhook(constants.WORKFLOW, mutating=False),
    Webhook(constants.STEP_DEFINITION, mutating=False),
)

OPERATIONS: Final = ("CREATE", "UPDATE")


class Admission:
    """Admission as a part of the operator, from its start to its end; nothing at all when no port is set."""

    def __init__(
        self, settings: Settings, client: ClusterClient, evaluator: Evaluator, definitions: Definitions
    ) -> None:
        self._settings = settings
        policy = Policy(settings.admission_unknown_types, settings.namespaces, settings.admission_timeout)
        self._reviewer = Reviewer(client, evaluator, definitions, policy)
        self._keeper: certificates.Keeper | None = None
        if settings.admission_port and not settings.admission_directory:
            self._keeper = certificates.Keeper(client, place(settings))

    async def start(self) -> None:
        """Have a certificate to serve; raises ``WorkflowError`` when that cannot be."""
        if self._keeper is not None:
            await self._keeper.start()

    def serve(self, registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings) -> None:
        """Let the kopf operator with this registry and these settings answer reviews; call after ``start``."""
        if self._settings.admission_port:
            _quiet()
            register(registry, self._reviewer)
            settings.admission.server = server(self._settings, self._keeper)

    async def close(self) -> None:
        """Forget the certificate of this process."""
        if self._keeper is not None:
            await self._keeper.close()


def _quiet() -> None:
    """Keep every request, and every refusal, out of the log: they concern those who asked, who are told."""
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("kopf.objects").addFilter(_is_no_refusal)


def _is_no_refusal(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Webhook ")


def place(settings: Settings) -> certificates.Place:
    """Where certificates are kept, and for which names they are made."""
    names = certificates.service_names(settings.admission_service, settings.system_namespace)
    extra = (settings.admission_address,) if settings.admission_address else ()
    return certificates.Place(
        namespace=settings.system_namespace,
        secret=settings.admission_secret,
        names=tuple(dict.fromkeys((*names, *extra))),
        configuration=settings.admission_configuration,
    )


def server(settings: Settings, keeper: certificates.Keeper | None) -> kopf.WebhookServer:
    """The server for ``OperatorSettings.admission.server``; it reads the certificate again when it is renewed.

    Without a ``keeper`` the certificate is given, as two files.
    """
    given = Path(settings.admission_directory)
    return kopf.WebhookServer(
        addr=settings.admission_address or None,
        port=settings.admission_port,
        certfile=keeper.path if keeper is not None else given / "tls.crt",
        pkeyfile=keeper.path if keeper is not None else given / "tls.key",
        cadata=keeper.authorities if keeper is not None else None,
        file_check_interval=RENEWAL_NOTICED,
    )


def register(registry: kopf.OperatorRegistry, reviewer: Reviewer) -> None:
    """Add the handlers of all webhooks to kopf's registry."""
    for webhook in WEBHOOKS:
        add = kopf.on.mutate if webhook.mutating else kopf.on.validate
        handler = _completes(reviewer, webhook) if webhook.mutating else _judges(reviewer, webhook)
        kind = webhook.kind
        add(kind.group, kind.version, kind.plural, id=webhook.id, operations=OPERATIONS, registry=registry)(handler)


def _completes(reviewer: Reviewer, webhook: Webhook) -> Any:
    async def complete(new: Any, old: Any, patch: kopf.Patch, **_: Any) -> None:
        try:
            patch.update(reviewer.completion(_body(webhook, new), old))
        except Exception:  # a fault of ours must not keep users from their work
            logger.exception("completing a %s failed", webhook.kind.kind)

    return complete


def _judges(reviewer: Reviewer, webhook: Webhook) -> Any:
    async def judge(new: Any, old: Any, warnings: list[str], **_: Any) -> None:
        try:
            review = await reviewer.review(_body(webhook, new), old)
        except Exception:  # as above
            logger.exception("reviewing a %s failed", webhook.kind.kind)
            warnings.append("the object was not checked: internal error; the operator's log has the details")
            return
        warnings.extend(review.notes)
        if review.refusal:
            raise kopf.AdmissionError(review.refusal, code=REFUSED)

    return judge


def _body(webhook: Webhook, new: Mapping[str, Any]) -> JSON:
    """The object with its kind, which requests of old clients may leave out."""
    return {**new, "apiVersion": webhook.kind.api_version, "kind": webhook.kind.kind}


def configurations(
    name: str,
    *,
    url: str = "",
    service: tuple[str, str] | None = None,
    authorities: str = "",
    failure_policy: Literal["Ignore", "Fail"] = "Ignore",
    namespaces: Mapping[str, Any] | None = None,
) -> list[JSON]:
    """The webhook configurations of the operator, as manifests.

    They lead to ``url`` (local use and tests) or to port 443 of a ``service``, given as namespace and name.
    ``authorities`` is the ``caBundle`` (base64); left out, the operator fills it in. ``namespaces`` is the
    ``namespaceSelector``.
    """
    found = []
    for kind in certificates.CONFIGURATION_KINDS:
        mutating = kind.startswith("Mutating")
        webhooks = [
            {
                "name": webhook.name,
                "clientConfig": _client_config(webhook, url, service, authorities),
                "rules": [_rule(webhook)],
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": failure_policy,
                "matchPolicy": "Equivalent",
                "timeoutSeconds": PATIENCE,
                **({"namespaceSelector": dict(namespaces)} if namespaces else {}),
            }
            for webhook in WEBHOOKS
            if webhook.mutating is mutating
        ]
        manifest = {"apiVersion": certificates.CONFIGURATION_API, "kind": kind, "metadata": {"name": name}}
        found.append({**manifest, "webhooks": webhooks})
    return found


def _client_config(webhook: Webhook, url: str, service: tuple[str, str] | None, authorities: str) -> JSON:
    trust = {"caBundle": authorities} if authorities else {}
    if service is None:
        return {"url": f"{url.rstrip('/')}/{webhook.id}", **trust}
    namespace, name = service
    return {"service": {"namespace": namespace, "name": name, "path": f"/{webhook.id}", "port": 443}, **trust}


def _rule(webhook: Webhook) -> JSON:
    return {
        "apiGroups": [webhook.kind.group],
        "apiVersions": [webhook.kind.version],
        "resources": [webhook.kind.plural],
        "operations": list(OPERATIONS),
        "scope": "Namespaced",
    }
