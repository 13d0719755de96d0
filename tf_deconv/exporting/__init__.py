"""From a Keras model to files that other programs run, each proven to give the same picture."""
