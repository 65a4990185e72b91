"""``python3 -m tools``."""

from __future__ import annotations

import sys

from tools import cli

sys.exit(cli.main())
