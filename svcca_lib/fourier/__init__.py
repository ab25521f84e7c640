"""DFT-CCA: layers of a convolutional network compared one spatial frequency at a time."""
