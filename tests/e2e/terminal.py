"""What a person has before them: commands, a kubeconfig, a namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Terminal:
    """What a person has: commands, a kubeconfig and a namespace that it names."""

    kubeconfig: Path
    namespace: str

    def __call__(self, *arguments: str) -> str:
        """Run ``vela-workflow`` and return what it prints; a failure of it is one of the test."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "vela_workflow.cli.main", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout
