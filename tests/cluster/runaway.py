"""Templates that an evaluation never comes to the end of: each wants more time or memory than it may have."""

from __future__ import annotations

RUNAWAY = {
    "endless": """
import "list"
r: list.Range(0, 300, 1)
result: len([for a in r for b in r for c in r for d in r if a+b+c+d == -1 {a}])
parameter: {}
""",
    "glutton": """
import (
	"list"
	"strings"
)
result: [for i in list.Range(0, 5000, 1) {strings.Repeat("\\(i)", 200000)}]
parameter: {}
""",
    "doubling": "\n".join(
        [
            "x0: {a: 1, b: 2}",
            *(f"x{n}: {{a: x{n - 1}, b: x{n - 1}}}" for n in range(1, 40)),
            "result: x39",
            "parameter: {}",
        ]
    ),
}
