"""Checks of metrics: ``vela/metrics``.

``condition`` compares, ``check`` is the state machine over time, ``prometheus`` asks, ``package`` has the table.
"""
