"""Differential privacy: noised embeddings, and what can be made of them afterwards."""

from __future__ import annotations
