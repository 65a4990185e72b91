"""Apply, patch and delete: operations that change objects.

Objects are written by server-side apply with the field manager of this program (decisions 29), so everything here may
be repeated. It is not repeated needlessly: once an action has succeeded in an attempt of a step, later looks at the
step only read what it made, because correcting drift is not the engine's business and an object that was deleted on
purpose must not be deleted again after somebody else has made a new one (decisions 24).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters import objects, undeclared
from vela_workflow.clusters.interest import Interest
from vela_workflow.providers import arguments, merge
from vela_workflow.providers.contract import Call, Outcome
from vela_workflow.providers.kube import target

PARALLEL: Final = 16
"""How many objects ``#ApplyInParallel`` has under way at a time."""

ATTEMPTS: Final = 4
"""How often a patch is computed anew when the object changes between read and write, before the step is told."""

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Applied:
    live: JSON
    interest: Interest
    sensitive: bool
    warnings: tuple[str, ...] = ()


async def apply(call: Call) -> Outcome:
    """``#Apply``: applies ``value``, with ``patch`` merged into it; the live object as ``value`` (ops 3.2)."""
    manifest = arguments.struct(call.args, "value")
    patch = arguments.optional_struct(call.args, "patch")
    if patch is not None:
        try:
            manifest = merge.merge(manifest, patch, call.tags)
        except merge.MergeError as error:
            raise arguments.wrong(f"patch does not fit value: {error}") from error
    done = await _apply(call, manifest, where="value")
    return Outcome({"value": done.live}, interest=(done.interest,), sensitive=done.sensitive, warnings=done.warnings)


async def apply_in_parallel(call: Call) -> Outcome:
    """``#ApplyInParallel``: applies all of ``value`` at the same time; the live objects as ``value``, in order.

    All are tried even when one fails; the first failure is raised then, and says how many others there are.
    """
    manifests = arguments.items(call.args, "value")
    for index in range(len(manifests)):
        if not isinstance(manifests[index], dict):
            raise arguments.wrong(f"value[{index}] must be a struct")
    slots = asyncio.Semaphore(PARALLEL)

    async def one(index: int, manifest: JSON) -> _Applied:
        async with slots:
            return await _apply(call, manifest, where=f"value[{index}]")

    results = await asyncio.gather(
        *(one(index, manifest) for index, manifest in enumerate(manifests)), return_exceptions=True
    )
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        raise _together(failures, len(results))
    done = [result for result in results if isinstance(result, _Applied)]
    return Outcome(
        {"value": [one.live for one in done]},
        interest=tuple(one.interest for one in done),
        sensitive=any(one.sensitive for one in done),
        warnings=tuple(warning for one in done for warning in one.warnings),
    )


async def patch(call: Call) -> Outcome:
    """``#Patch``: merges ``patch`` into the live object by the rules of ``merge``; the live object as ``result``.

    Only the difference is sent, bound to the version that was read; when the object changed meanwhile it is computed
    anew. Raises ``Transient`` when patch and object contradict each other: the object may still change (decisions 9).
    """
    wanted = arguments.struct(call.args, "value")
    changes = arguments.struct(call.args, "patch")
    kind = await target.kind(call, wanted, where="value")
    name = target.object_name(wanted, where="value")
    live = await kind.client.get(kind.api_version, kind.kind, kind.namespace, name)
    for attempt in range(1, ATTEMPTS + 1):
        if call.again:
            break
        body = _difference(call, live, changes)
        if not body:
            break
        try:
            live = await kind.client.patch(kind.api_version, kind.kind, kind.namespace, name, body)
            break
        except cluster_errors.Conflict:
            if attempt == ATTEMPTS:
                raise
        live = await kind.client.get(kind.api_version, kind.kind, kind.namespace, name)
    return Outcome({"result": live}, interest=(kind.interest(live),), sensitive=kind.is_secret)


async def delete(call: Call) -> Outcome:
    """``#Delete``: deletes one object, or with ``filter`` all that carry its labels (ops 3.2, decisions 28 and 29).

    What does not exist is deleted already. A filter without labels is refused: nothing is deleted because of an
    empty selector.
    """
    wanted = arguments.struct(call.args, "value")
    chosen = arguments.optional_struct(call.args, "filter")
    if chosen is not None:
        return await _delete_all(call, wanted, chosen)
    name = target.object_name(wanted, where="value")
    if call.again:
        return Outcome()
    kind = await target.kind(call, wanted, where="value")
    try:
        await kind.client.delete(kind.api_version, kind.kind, kind.namespace, name)
    except cluster_errors.NotFound:
        return Outcome()
    return Outcome()


async def _delete_all(call: Call, wanted: JSON, chosen: JSON) -> Outcome:
    labels = arguments.labels(chosen, "matchingLabels", where="filter")
    if not labels:
        raise arguments.wrong(
            "filter.matchingLabels is empty, which would delete every object of the kind; name at least one label"
        )
    if call.again:
        return Outcome()
    namespace = arguments.optional_text(chosen, "namespace", where="filter") or None
    kind = await target.kind(call, wanted, where="value", namespace=namespace)
    await kind.client.delete_collection(kind.api_version, kind.kind, kind.namespace, labels=labels)
    return Outcome()


async def _apply(call: Call, manifest: JSON, *, where: str) -> _Applied:
    kind = await target.kind(call, manifest, where=where)
    name = target.object_name(manifest, where=where)
    if call.again:
        try:
            live = await kind.client.get(kind.api_version, kind.kind, kind.namespace, name)
            return _Applied(live, kind.interest(live), kind.is_secret)
        except cluster_errors.NotFound:
            pass  # It is gone: it is made again (decisions 24).
    prepared = objects.clean(_dressed(call, kind, manifest))
    live, dropped = await _server_side(kind, prepared.body)
    return _Applied(live, kind.interest(live), kind.is_secret, (*prepared.warnings, *dropped))


async def _server_side(kind: target.Kind, body: JSON) -> tuple[JSON, tuple[str, ...]]:
    """Apply an object without the fields that the server does not know; the live object, and a warning for each."""
    warnings: list[str] = []
    while True:
        try:
            return await kind.client.apply(body), tuple(warnings)
        except cluster_errors.Unprocessable as error:
            field = undeclared.field_of(str(error))
            left = undeclared.without(body, field) if field else None
            if left is None or len(warnings) >= undeclared.LIMIT:
                raise
        body = left
        warnings.append(f"{field.lstrip('.')} is no field of {kind.kind}; it was left out")


def _dressed(call: Call, kind: target.Kind, manifest: Mapping[str, Any]) -> JSON:
    """The manifest with kind (as the server writes it), namespace, labels of the run and, where asked for, an owner."""
    named = {**manifest, "kind": kind.kind}
    body = objects.with_labels(named, objects.run_labels(call.run_name, call.run_namespace))
    if kind.namespaced:
        body = objects.with_namespace(body, kind.namespace)
    if not objects.wants_garbage_collection(call.run_annotations):
        return body
    owner = {
        "apiVersion": constants.WORKFLOW_RUN.api_version,
        "kind": constants.WORKFLOW_RUN.kind,
        "name": call.run_name,
        "uid": call.run_uid,
    }
    cluster = kind.client.name
    return objects.with_owner(body, owner, namespace=call.run_namespace, cluster=cluster, namespaced=kind.namespaced)


def _difference(call: Call, live: JSON, changes: JSON) -> JSON:
    """The merge patch that brings ``changes`` and the run's labels into the live object; empty when all is there."""
    try:
        merged = merge.merge(live, changes, call.tags)
    except merge.MergeError as error:
        raise errors.Transient(f"patch does not fit the live object: {error}") from error
    merged = objects.with_labels(merged, objects.run_labels(call.run_name, call.run_namespace))
    body = merge.difference(live, merged)
    if body:
        body["metadata"] = {**body.get("metadata", {}), "resourceVersion": live["metadata"]["resourceVersion"]}
    return body


def _together(failures: list[BaseException], total: int) -> BaseException:
    """The error to raise for several: one that cannot be retried first, with the number of the others in its text."""
    first = next((error for error in failures if not isinstance(error, errors.Transient)), failures[0])
    if len(failures) == 1 or not isinstance(first, errors.WorkflowError):
        return first
    text = f"{first} (and {len(failures) - 1} more of {total} objects failed)"
    if isinstance(first, errors.Terminal):
        return errors.Terminal(text, reason=first.reason)
    return errors.Transient(text, after=max(getattr(error, "after", 0.0) for error in failures))
