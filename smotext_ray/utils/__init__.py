"""Helpers that know nothing about runs or models."""
