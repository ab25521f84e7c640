"""The figures, drawn from plain arrays: one file a chapter, and what several chapters draw with."""
