"""Measuring as the literature does, beside the figures that it prints."""
