"""The SavedModel: its signatures, and what TensorFlow Serving reads beside it."""
