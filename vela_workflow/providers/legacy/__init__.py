"""The flat form of all operations: ``vela/op``.

Its definitions have other places for arguments and results, and are carried out by the same functions as those of the
newer packages. ``chat`` has the few that only this package knows, ``package`` the table.
"""
