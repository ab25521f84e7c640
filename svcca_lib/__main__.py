"""The command line: ``python -m svcca_lib --help``, or ``svcca --help`` where it is installed.

Comparing files needs no extra. The commands of the reproduction come with theirs; without it they
say so in a sentence.
"""

from __future__ import annotations

import sys
from typing import Any

from svcca_lib.files import command

app: Any = None  # the commands of the reproduction, where its extra is installed
try:
    from svcca_lib.paper.cli.app import app
except ModuleNotFoundError as error:
    if (error.name or "").startswith("svcca_lib"):
        raise

EXTRA = "pip install 'svcca-lib[workflow]'"
# What there is with the extra, for those who have not got it.
REPRODUCTION = (
    *("run", "resume", "list", "status", "clean", "collect"),
    *("workflow", "reference", "ledger", "site", "pdf", "archive", "versions", "machines"),
    *("train", "execute"),
)
_OTHERS = f"""\
The reproduction of the paper adds {", ".join(REPRODUCTION)}, and compare of two
networks. They come with an extra:

  {EXTRA}
"""


def main() -> None:
    """Run the command that the arguments name."""
    arguments = sys.argv[1:]
    if app is not None:
        try:
            app(prog_name=command.PROGRAM)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("svcca_lib"):
                raise
            _missing(arguments[0], error.name)
    elif arguments and not command.takes(arguments) and arguments[0] in (*REPRODUCTION, "compare"):
        _missing(arguments[0], "typer")
    else:
        sys.exit(command.main(arguments or ["--help"], _OTHERS))


def _missing(wanted: str, package: str | None) -> None:
    print(f"error: {wanted} needs {package}, which is not installed: {EXTRA}", file=sys.stderr)
    sys.exit(command.FAILED)


if __name__ == "__main__":
    main()
