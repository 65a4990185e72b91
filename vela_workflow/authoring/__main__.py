"""``python -m vela_workflow.authoring`` prints the page of all step definitions."""

from __future__ import annotations

import sys

from vela_workflow.authoring import reference

if __name__ == "__main__":
    sys.stdout.write(reference.page())
