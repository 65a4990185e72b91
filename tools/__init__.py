"""What developers and CI need around the program: tools that PyPI does not have, and a local Kubernetes to run on.

Everything here uses only the standard library, because it runs before any virtual environment exists:
``python3 -m tools up`` is enough, with Python 3.11 or newer and (when the tools are not installed already) Go.
"""
