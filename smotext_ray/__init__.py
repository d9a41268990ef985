"""SMOTExT on Ray: new labelled texts by interpolation in embedding space."""

__version__ = "0.1.0"
