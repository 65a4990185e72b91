"""The shapes users write: kinds, their fields, the words and numbers of the API.

Everything here is pure. Import the modules, not names out of them:

- ``constants``: groups, kinds, labels, annotations, phases, reasons, default numbers;
- ``durations``: ``1h30m`` and the like, read and written;
- ``workflowrun``, ``workflow``, ``stepdefinition``, ``package``, made of ``step`` and ``status``: one pydantic model
  for each kind, with ``model.parse`` to read an object that somebody wrote;
- ``crd``: the CustomResourceDefinitions, generated from the models.

The engine works on plain dicts. So that it does not pay for the models, this file imports nothing, and ``constants``
and ``durations`` do without pydantic.
"""
