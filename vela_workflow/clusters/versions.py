"""Comparing resourceVersions.

They are numbers that grow within one cluster (which Kubernetes guarantees since 1.35 and all servers before it held
to). Where one is not a number, or says that there is no object, nothing is assumed but that different is different.
"""

from __future__ import annotations


def is_number(version: str) -> bool:
    """Whether ``version`` can be ordered."""
    return version.isascii() and version.isdigit()


def is_newer(version: str, than: str) -> bool:
    """Whether ``version`` may be a later state than ``than``; unknown states (empty) may be anything."""
    if not version or not than:
        return True
    if is_number(version) and is_number(than):
        return int(version) > int(than)
    return version != than


def oldest(versions: list[str]) -> str:
    """The smallest of the versions; empty when there is none or one that cannot be ordered."""
    if not versions or not all(is_number(version) for version in versions):
        return ""
    return min(versions, key=int)
