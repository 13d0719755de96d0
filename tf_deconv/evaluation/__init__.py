"""How good a model is: `evaluate`, `benchmark --protocol` and `inspect`."""
