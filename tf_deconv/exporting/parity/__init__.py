"""The proof that an exported file gives Keras's picture."""
