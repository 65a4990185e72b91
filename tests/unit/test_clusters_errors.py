"""The texts of API servers, turned into errors for people."""

from __future__ import annotations

from typing import Any

import pytest

from vela_workflow import errors as base
from vela_workflow.clusters import errors

JSON = dict[str, Any]

WEB = errors.Target("", "apps/v1", "Deployment", "default", "web")
FAR = errors.Target("far", "v1", "Namespace", "", "shop")
SECRET = errors.Target("", "v1", "Secret", "default", "key")


def status(code: int, reason: str, message: str, **details: Any) -> JSON:
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


ANSWERS = [
    pytest.param(
        *(404, status(404, "NotFound", 'deployments.apps "web" not found', name="web", kind="deployments"), WEB),
        *(errors.NotFound, "apps/v1 Deployment default/web: not found"),
        id="not-found",
    ),
    pytest.param(
        *(409, status(409, "AlreadyExists", 'deployments.apps "web" already exists', name="web"), WEB),
        *(errors.AlreadyExists, "apps/v1 Deployment default/web: already exists"),
        id="already-exists",
    ),
    pytest.param(
        *(409, status(409, "Conflict", 'Operation cannot be fulfilled on x "web": it changed', name="web"), WEB),
        *(errors.Conflict, "apps/v1 Deployment default/web: conflict: it changed"),
        id="conflict",
    ),
    pytest.param(
        *(404, status(404, "NotFound", 'namespaces "default" not found', name="default", kind="namespaces"), WEB),
        *(errors.NotFound, 'apps/v1 Deployment default/web: not found: namespaces "default" not found'),
        id="something-else-is-not-found",
    ),
    pytest.param(
        *(
            403,
            status(
                403,
                "Forbidden",
                'namespaces "shop" is forbidden: User "system:serviceaccount:vela-system:runner" cannot delete '
                'resource "namespaces" in API group "" at the cluster scope',
                name="shop",
            ),
            FAR,
        ),
        errors.Forbidden,
        "cluster far: v1 Namespace shop: forbidden: "
        "ServiceAccount vela-system/runner cannot delete namespaces in the whole cluster",
        id="forbidden-by-rbac",
    ),
    pytest.param(
        *(403, status(403, "Forbidden", 'deployments.apps "web" is forbidden: over quota', name="web"), WEB),
        *(errors.Forbidden, "apps/v1 Deployment default/web: forbidden: over quota"),
        id="forbidden-by-quota",
    ),
    pytest.param(
        *(403, status(403, "Forbidden", 'admission webhook "x" denied the request: key sesame', name="key"), SECRET),
        *(errors.Forbidden, "v1 Secret default/key: forbidden"),
        id="forbidden-secret-by-a-webhook",
    ),
    pytest.param(
        *(410, status(410, "Expired", "too old resource version: 1 (2)"), WEB),
        *(errors.Gone, "apps/v1 Deployment default/web: too old: too old resource version: 1 (2)"),
        id="gone",
    ),
    pytest.param(
        *(429, status(429, "TooManyRequests", "please try again later"), WEB),
        errors.TooManyRequests,
        "apps/v1 Deployment default/web: the API server asks to slow down: please try again later",
        id="too-many-requests",
    ),
    pytest.param(
        *(413, "Request entity too large", WEB),
        *(errors.TooLarge, "apps/v1 Deployment default/web: too large: Request entity too large"),
        id="too-large",
    ),
    pytest.param(
        *(502, "<html>" + "x" * 5000, WEB),
        *(errors.Unavailable, "apps/v1 Deployment default/web: the API server failed (502): <html>" + "x" * 294),
        id="a-proxy-says-something-long",
    ),
    pytest.param(
        *(500, status(500, "InternalError", "etcdserver: leader changed"), WEB),
        *(
            errors.Unavailable,
            "apps/v1 Deployment default/web: the API server failed (500): etcdserver: leader changed",
        ),
        id="server-error",
    ),
    pytest.param(
        *(405, status(405, "MethodNotAllowed", "the server does not allow this method"), WEB),
        *(errors.ApiError, "apps/v1 Deployment default/web: refused (405): the server does not allow this method"),
        id="anything-else",
    ),
    pytest.param(
        *(200, {"message": "odd"}, WEB),
        *(errors.Unavailable, "apps/v1 Deployment default/web: the API server failed (500): odd"),
        id="an-error-event-without-a-code",
    ),
]


@pytest.mark.parametrize(("code", "body", "target", "expected", "message"), ANSWERS)
def test_answers_become_errors(
    code: int, body: Any, target: errors.Target, *, expected: type[errors.ApiError], message: str
) -> None:
    error = errors.from_status(code, body, target)
    assert type(error) is expected
    assert error.message == message
    assert isinstance(error, base.Transient)


AFTER = [
    pytest.param(403, 0.0, 5.0, id="forbidden"),
    pytest.param(422, 0.0, 5.0, id="unprocessable"),
    pytest.param(429, 7.0, 7.0, id="as-the-server-asks"),
    pytest.param(422, 9.0, 9.0, id="the-longer-one"),
    pytest.param(404, 0.0, 0.0, id="at-once"),
]


@pytest.mark.parametrize(("code", "asked", "expected"), AFTER)
def test_when_to_try_again(code: int, asked: float, expected: float) -> None:
    assert errors.from_status(code, {}, WEB, after=asked).after == expected


def test_details_of_a_secret_lose_their_texts() -> None:
    causes = [{"field": "data[a]", "reason": "FieldValueInvalid", "message": 'Invalid value: "sesame"'}]
    answer = status(
        422, "Invalid", 'Secret "key" is invalid: data[a]: Invalid value: "sesame"', name="key", causes=causes
    )
    error = errors.from_status(422, answer, SECRET)
    assert error.message == "v1 Secret default/key: invalid: data[a]"
    assert error.details == {"name": "key", "causes": [{"field": "data[a]", "reason": "FieldValueInvalid"}]}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ('Invalid value: {"env":[{"value":"sesame"}]}: field is immutable', "Invalid value: {…}: field is immutable"),
        ('Invalid value: core.Spec{Env:[]core.Env{{"a"}}}: no', "Invalid value: {…}: no"),
        ('Invalid value: ["sesame"]: too many', "Invalid value: {…}: too many"),
        ("Invalid value: -1: must be greater than {0}: really", "Invalid value: -1: must be greater than {0}: really"),
        ("Required value", "Required value"),
    ],
)
def test_objects_are_not_quoted_so_that_the_reason_is_seen(said: str, shown: str) -> None:
    causes = [{"field": "spec.template", "message": said}, {"field": "spec.x", "message": "Required value"}]
    text = f'Job "web" is invalid: [spec.template: {said}, spec.x: Required value]'
    error = errors.from_status(422, status(422, "Invalid", text, name="web", causes=causes), WEB)
    assert error.message.endswith(f": invalid: [spec.template: {shown}, spec.x: Required value]")


def test_messages_are_bounded() -> None:
    error = errors.from_status(422, status(422, "Invalid", "x" * 10_000), WEB)
    assert len(error.message.encode()) <= base.MESSAGE_LIMIT


def test_a_message_can_be_written_whatever_somebody_else_said() -> None:
    """A mail server, say, whose answer is no UTF-8."""
    assert base.bounded("refused: \udcff!") == "refused: ?!"
