"""Films in and out through PyAV (FFmpeg's libraries); nothing imports it before a film comes."""
