"""Where the package and its repository lie: the one place that counts folders upward."""

from pathlib import Path

PACKAGE = Path(__file__).parents[2]
REPOSITORY = PACKAGE.parent
