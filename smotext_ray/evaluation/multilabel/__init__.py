"""Evaluation of synthetic texts if texts have several labels."""
