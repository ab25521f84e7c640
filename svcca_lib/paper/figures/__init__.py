"""The figures, drawn from plain arrays; one file a chapter."""
