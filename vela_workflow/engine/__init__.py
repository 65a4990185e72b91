"""Which step may run, what a result means, what a user's command does to a status: pure, no I/O, no await, no clock.

Import the modules, not names out of them. What others need:

- ``plan``: what the user wrote, built and checked once, never changed;
- ``run_pass``: one reconcile, driven through ``tasks`` (what to do next) and ``result`` (what came of it);
- ``commands`` and ``restart``: suspend, resume, terminate, restart as functions from status to patch;
- ``fold``: what users asked for while a pass was busy, folded into the status that the pass made;
- ``variables``, ``inputs``, ``scope``, ``ids``: the values that steps see.
"""
