"""Restoring pictures with a model of any format."""
