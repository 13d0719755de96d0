"""Pictures packed into TFRecord shards, and read from them."""
