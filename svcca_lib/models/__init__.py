"""Whole models: their layers recorded, read, compared, and made smaller."""
