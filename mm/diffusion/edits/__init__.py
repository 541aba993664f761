"""Edits, one a file."""
