"""How other libraries make the figures that `benchmarks/metrics.py` compares, a module a topic."""
