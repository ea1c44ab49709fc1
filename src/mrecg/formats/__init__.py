"""A quantized network in files that run without this package, checked against the network."""
