"""A real Argo CD beside the local cluster, and a Git repository that it syncs from."""

from lab.argocd.applications import EXAMPLE, application
from lab.argocd.repository import Repository
from lab.argocd.server import ArgoCD, argo_cd

__all__ = ["EXAMPLE", "ArgoCD", "Repository", "application", "argo_cd"]
