"""Training, evaluation and sharing of bridges."""

from __future__ import annotations
