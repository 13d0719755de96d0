"""Pictures of any source, and batches to train on."""
