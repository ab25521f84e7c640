"""Chapters and trainings as jobs: one, a sweep, a book; here or on a cluster."""
