"""Decoders of picture files, each a `PictureFile`."""
