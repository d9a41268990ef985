"""Evaluation of synthetic texts: utility, fidelity, diversity and leakage."""

from __future__ import annotations
