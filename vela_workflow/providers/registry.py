"""All packages that this program brings along, in one table.

The evaluator takes the CUE text from here and the steps take the operations; nothing else needs to know which
providers there are. What is built on top of workflows adds packages of its own to the table it passes on.
"""

from __future__ import annotations

from vela_workflow.providers.base64 import package as base64
from vela_workflow.providers.builtin import package as builtin
from vela_workflow.providers.config import package as config
from vela_workflow.providers.contract import Package
from vela_workflow.providers.email import package as email
from vela_workflow.providers.http import package as http
from vela_workflow.providers.kube import package as kube
from vela_workflow.providers.legacy import package as legacy
from vela_workflow.providers.metrics import package as metrics
from vela_workflow.providers.time import package as time
from vela_workflow.providers.util import package as util

_PACKAGES = (
    base64.PACKAGE,
    builtin.PACKAGE,
    config.PACKAGE,
    email.PACKAGE,
    http.PACKAGE,
    kube.PACKAGE,
    legacy.PACKAGE,
    metrics.PACKAGE,
    time.PACKAGE,
    util.PACKAGE,
)


def packages() -> dict[str, Package]:
    """The packages by the path that templates import, such as ``vela/kube``."""
    return {package.path: package for package in _PACKAGES}
