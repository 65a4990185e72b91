"""vela-workflow: a Kubernetes operator that runs KubeVela workflows."""

__version__ = "0.1.0"
