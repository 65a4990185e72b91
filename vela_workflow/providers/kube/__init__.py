"""Operations on Kubernetes objects: ``vela/kube``.

``target`` finds out which object an argument means, ``write`` and ``look`` act on it, ``package`` has the table.
"""
