"""The command line: what a person types, at a terminal or in a CI job.

Every command is in a module of its family, imported only when the command is used (``lazy``), so that ``--help`` and
shell completion answer at once. ``kube`` is the only module that talks to an API server, but for ``cluster probe``,
which asks joined clusters the way the operator does. ``view`` turns a run into what a reader wants to know of it,
``render`` and ``output`` show that. What a command means for a run is decided by ``vela_workflow.engine``.
"""
