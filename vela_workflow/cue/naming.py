"""The names that a program adds to those of its template.

All of them end in a tag that does not occur in the template, so that none of a user's can collide with them.
"""

from __future__ import annotations

import dataclasses

OUT = "OUT"
"""What a program is asked for; the same in all, so that one command can be asked for many."""


@dataclasses.dataclass(frozen=True, slots=True)
class Naming:
    """The names of ours in the programs of one template."""

    tag: str

    def name(self, word: str) -> str:
        """A name at the level of the file: ``W`` for the template, ``R`` for results."""
        return f"{word}_{self.tag}"

    @property
    def json(self) -> str:
        """The name by which a program uses CUE's package ``encoding/json``."""
        return self.name("J")

    @property
    def parameters(self) -> str:
        """The binding that holds the parameters against their schema."""
        return self.name("P")

    @property
    def sentinel(self) -> str:
        """The hidden field that is there unless an error leaves nothing of the template."""
        return f"_sent_{self.tag}"

    def output(self, index: int, attempt: int) -> str:
        """The hidden field that holds a candidate of an output."""
        return f"_o{index}_{attempt}_{self.tag}"

    def guard(self, number: int) -> str:
        """The hidden field that asks about a guard."""
        return f"_u{number}_{self.tag}"

    def marker(self, number: int) -> str:
        """The hidden field that stands beside an operation under a written label."""
        return f"_m{number}_{self.tag}"

    def element(self, number: int) -> str:
        """The definition that stands inside an operation in a list."""
        return f"#s{number}_{self.tag}"

    def table(self, number: int) -> str:
        """The hidden field that holds the values of a computed label and the iterations that made them."""
        return f"_t{number}_{self.tag}"

    def label(self, number: int) -> str:
        """The binding that holds the value of a computed label."""
        return f"l{number}_{self.tag}"

    def index(self, number: int) -> str:
        """The binding that holds the key of an iteration."""
        return f"i{number}_{self.tag}"

    def key(self, number: int) -> str:
        """The variable of a ``for`` clause that had none for its key."""
        return f"j{number}_{self.tag}"
