"""Normalising flows: one file a paper."""
