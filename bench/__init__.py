"""Benchmarks: ``python -m bench``, or ``make bench``.

A controller is started on a fresh local control plane and driven from outside, through the API server only, so the same
benchmark measures any controller of this API (``--controller-command``). ``scenarios`` says what is measured (``scale``
has the part with many of everything), ``sizes`` how much of it, ``harness`` how (control plane, controller, runs),
``report`` shows and compares the results.
"""
