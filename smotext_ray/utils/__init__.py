"""Helpers that know nothing of runs or models."""
