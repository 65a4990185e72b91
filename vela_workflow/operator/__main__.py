"""``python -m vela_workflow.operator``: the operator with settings from the environment only."""

from __future__ import annotations

import sys

from vela_workflow import errors, settings
from vela_workflow.operator import main

if __name__ == "__main__":
    try:
        main.run(settings.load())
    except errors.WorkflowError as error:
        sys.exit(f"vela-workflow: {error}")
