"""Read and list: operations that change nothing. Both declare what they looked at, so its change wakes the run."""

from __future__ import annotations

from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.providers import arguments
from vela_workflow.providers.contract import Call, Outcome
from vela_workflow.providers.kube import target


async def read(call: Call) -> Outcome:
    """``#Read``: the live object as ``value``.

    When there is none, ``value`` is the argument and ``err`` says so; nothing else goes to ``err`` (decisions 29).
    """
    wanted = arguments.struct(call.args, "value")
    kind = await target.kind(call, wanted, where="value")
    name = target.object_name(wanted, where="value")
    try:
        live = await kind.client.get(kind.api_version, kind.kind, kind.namespace, name)
    except cluster_errors.NotFound as error:
        absent = (kind.interest_in_absent(name),)
        return Outcome({"value": wanted, "err": error.message}, interest=absent, sensitive=kind.is_secret)
    return Outcome({"value": live}, interest=(kind.interest(live),), sensitive=kind.is_secret)


async def listing(call: Call) -> Outcome:
    """``#List``: the list object as ``values``; an empty ``filter.namespace`` means all namespaces (ops 3.2)."""
    chosen = arguments.optional_struct(call.args, "filter") or {}
    namespace = arguments.optional_text(chosen, "namespace", where="filter")
    resource = arguments.struct(call.args, "resource")
    kind = await target.kind(call, resource, where="resource", namespace=namespace)
    labels = arguments.labels(chosen, "matchingLabels", where="filter")
    values = await kind.client.list(kind.api_version, kind.kind, kind.namespace, labels=labels or None)
    return Outcome({"values": values}, interest=(kind.interest(values),), sensitive=kind.is_secret)
