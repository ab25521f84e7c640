"""Figures a reader can move."""
