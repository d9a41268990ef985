"""What the new texts are worth: fidelity, diversity, and checks for what they give away."""

from __future__ import annotations
