"""The real kubectl, for tests and the demo."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.errors import ToolError


@dataclass(frozen=True, slots=True)
class Kubectl:
    """``kubectl`` at ``binary`` against the cluster of ``kubeconfig``, in ``namespace`` when that is not empty."""

    binary: Path
    kubeconfig: Path
    namespace: str = ""

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run it and return what it printed; raises ``ToolError`` with what it said when it fails."""
        done = self.run(*arguments, stdin=stdin)
        if done.returncode:
            raise ToolError(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run it and return how it went, success or not."""
        command: list[str | Path] = [self.binary, f"--kubeconfig={self.kubeconfig}"]
        if self.namespace:
            command.append(f"--namespace={self.namespace}")
        return subprocess.run(
            [*command, *arguments], input=stdin, capture_output=True, text=True, timeout=120, check=False
        )

    def json(self, *arguments: str) -> Any:
        """Run it with ``-o json`` and return what it printed, parsed."""
        return json.loads(self(*arguments, "-o", "json"))
