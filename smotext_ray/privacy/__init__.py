"""Differential privacy: noised embeddings, and their post-processing."""

from __future__ import annotations
