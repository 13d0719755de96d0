"""How good a generator is: distances, likelihoods, copies."""
