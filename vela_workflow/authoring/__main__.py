"""``python -m vela_workflow.authoring FOLDER`` writes the pages made from CUE files into a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from vela_workflow.authoring import packages, reference

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m vela_workflow.authoring docs/reference")
    for name, text in {**reference.pages(), packages.PAGE: packages.page()}.items():
        page = Path(sys.argv[1]) / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
