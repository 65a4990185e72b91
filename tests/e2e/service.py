"""A service for examples: it makes images and caches, takes its time, and cannot make what is called ``broken``."""

from __future__ import annotations

from typing import Any

from tests import web

LOOKS = 2
"""How often it is asked for a thing before that is done."""


class Service(web.Server):
    """Makes what is posted to it, under an id of its name, and tells how the making gets on."""

    def posts(self) -> list[tuple[str, Any]]:
        """What was posted, as (path, body)."""
        return [(one.path, one.json) for one in self.requests if one.method == "POST"]

    def answer(self, request: web.Request) -> web.Answer:
        if request.method == "POST":
            return web.Answer.of({"id": f"{request.json.get('name')}-{len(self.posts())}"}, 201)
        if sum(one.path == request.path for one in self.requests) < LOOKS:
            return web.Answer.of({"phase": "running"})
        return web.Answer.of({"phase": "failed" if "/broken-" in request.path else "done"})
