"""Python API: the over-sampler, Ray Data, dataset splits."""
