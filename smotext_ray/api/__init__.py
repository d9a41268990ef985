"""From Python: the over-sampler, Ray Data, splits."""
