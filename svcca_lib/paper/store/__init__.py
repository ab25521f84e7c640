"""Artefacts on disk: trained networks and measurements, made once and kept."""
