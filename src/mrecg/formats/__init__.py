"""Export formats: files that run without this package, compared with the network."""
