"""Layers in files: opened, read in blocks of rows, compared from the command line."""

from svcca_lib.files.layers import Layer, Layers, open_layers

__all__ = ["Layer", "Layers", "open_layers"]
