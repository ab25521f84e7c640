"""Two subspaces, or two layers of rows, become a number: the last of the four stages."""
