"""Differential privacy: a noised count and sum per class, and the points drawn from them."""

from __future__ import annotations
