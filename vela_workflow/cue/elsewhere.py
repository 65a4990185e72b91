"""Packages and operations that other versions have and this program has not, each with what to use instead.

A template that names one of them is refused when it is prepared. These words say more than that there is no such name;
for other names the nearest one is offered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from vela_workflow import errors

_APPLICATION: Final = "it works on the components of an Application, a kind that this program does not have"
_CONTROLLER: Final = (
    "it checks templates of configurations in the controller of Applications, and is no part of workflows"
)
_GET: Final = "use #Read"

OPERATIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "vela/op": {
        "#Task": "apply a Job with #Apply and wait for it with #ConditionalWait, or use the step type apply-job",
        "#Export": "give the value to other steps in `outputs` of the step, or keep it with #DoVar",
        **dict.fromkeys(
            (
                "#ApplyApplication",
                "#ApplyApplicationInParallel",
                "#ApplyComponent",
                "#ApplyComponentRemaining",
                "#ApplyComponentsToEnv",
                "#ApplyEnvBindApp",
                "#ApplyRemaining",
                "#Component",
                "#Deploy",
                "#DeployCloudResource",
                "#GetConnectionStatus",
                "#GetPlacementsFromTopologyPolicies",
                "#ListClusters",
                "#Load",
                "#LoadComponets",
                "#LoadComponetsInOrder",
                "#LoadEnvBindingEnv",
                "#LoadInOrder",
                "#LoadPolicies",
                "#LoadTerraformComponents",
                "#MakePlacementDecisions",
                "#PatchApplication",
                "#Placement",
                "#PlacementDecision",
                "#PrepareEnvBinding",
                "#PrepareTerraformEnvBinding",
                "#RenderComponent",
                "#ShareCloudResource",
                "oam",
            ),
            _APPLICATION,
        ),
    },
    "vela/kube": {"#Get": _GET},
    "vela/config": dict.fromkeys(("#HelmRepository", "#ImageRegistry"), _CONTROLLER),
    "vela/http": {f"#{name}": f"use #HTTP{name}" for name in ("Do", "Get", "Post", "Put", "Delete")},
}
"""What to use instead of an operation, by the path of its package and its name."""

PACKAGES: Final[Mapping[str, str]] = dict.fromkeys(
    ("vela/oam", "vela/multicluster", "vela/terraform", "vela/ql", "vela/query", "vela/helm"), _APPLICATION
)
"""What is said of packages that other programs have, by their path."""


def advice(name: str, known: Iterable[str], table: Mapping[str, str]) -> str:
    """What to put behind a message about an unknown ``name``; empty when there is nothing to say."""
    if name in table:
        return f": {table[name]}"
    return errors.did_you_mean(name, sorted(known))
