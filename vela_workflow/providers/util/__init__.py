"""Helpers for templates: ``vela/util``. ``operations`` has the code, ``package`` the table."""
