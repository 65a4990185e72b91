"""Deployment: the Helm chart, what is generated of it, and releases on clusters without kubelets."""

from __future__ import annotations
