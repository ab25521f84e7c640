"""Where the repository and its pages live: one setting of `_config.yml` says both."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.config import Config


def repository(config: Config) -> str:
    """Return the repository's address of `_config.yml`, or nothing where it is not set there."""
    address: str = config.html_theme_options.get("repository_url", "")
    # jupyter-book's own stands there by default
    return "" if "executablebooks/jupyter-book" in address else address.rstrip("/")


def pages_of(repository: str) -> str:
    """Return where GitHub serves the pages of a repository.

    Raises ValueError for an address of another place: its `html: baseurl` has to be set as well.

    >>> pages_of("https://github.com/me/mine"), pages_of("https://github.com/me/me.github.io")
    ('https://me.github.io/mine/', 'https://me.github.io/')
    """
    place = re.fullmatch(r"https://github\.com/([\w-]+)/([\w.-]+?)(?:\.git)?/?", repository)
    if place is None:
        raise ValueError(
            "repository: url must be like https://github.com/OWNER/NAME, or html: baseurl be set "
            f"beside it; got {repository!r}"
        )
    host = f"{place[1].lower()}.github.io"
    return f"https://{host}/" if place[2].lower() == host else f"https://{host}/{place[2]}/"
