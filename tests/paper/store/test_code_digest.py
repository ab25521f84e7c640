"""A digest of code changes with what the code does, and with nothing else."""

import ast
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from svcca_lib.paper.store import code_digest
from svcca_lib.paper.store.code_digest import canonical, digest

SAMPLE = """
def f(a, /, b: int = 1, *c, d=None, **e) -> str:
    x = f"a{a}b" f"{b!r:>{d}}" "tail" f"{a=}{b=:.2f}" f"{a:}" f"pre{a=}post"
    y = None, ..., 1j, b"x", u"u", -1, 1e400, True
    with (open(a) as g, open(b)):
        pass
    match a:
        case {"k": [1, *_], **r} if r:
            pass
        case None | True:
            pass
    return lambda: x + str(y)
"""


@pytest.fixture
def digest_of(tmp_path):
    def digest_of(source):
        file = tmp_path / f"sample{len(list(tmp_path.iterdir()))}.py"
        file.write_text(source)
        return digest([file])

    return digest_of


UNCHANGED = {
    "comment": ("    x = f", "    # why\n    x = f"),
    "docstring": ("    x = f", '    "What it does."\n    x = f'),
    "module docstring": ("\ndef f", '"A module."\ndef f'),
    "blank lines": ("    match a", "\n\n    match a"),
    "parentheses": ("lambda: x + str(y)", "(lambda: (x + str(y)))"),
    "quotes": ('"k"', "'k'"),
    "line breaks": ("lambda: x + str(y)", "lambda: (x\n        + str(y))"),
}
CHANGED = {
    "number": ("b: int = 1", "b: int = 2"),
    "type of a number": ("b: int = 1", "b: int = 1.0"),
    "operator": ("x + str", "x * str"),
    "name": ("lambda: x", "lambda: g"),
    "text": ('"tail"', '"tale"'),
    "text in an f-string": ("a{a}b", "a{a}c"),
    "format": (":.2f", ":.3f"),
    "conversion": ("!r", "!s"),
    "None to False": ("y = None", "y = False"),
    "order": ("a, /, b", "b, /, a"),
    "default": ("d=None", "d=0"),
    "pattern": ("None | True", "None | False"),
    "statement": ("        pass\n    match", "        return\n    match"),
}


@pytest.mark.parametrize("edit", UNCHANGED)
def test_a_digest_stays_when_only_the_writing_changes(digest_of, edit):
    old, new = UNCHANGED[edit]
    assert SAMPLE.count(old) >= 1
    assert digest_of(SAMPLE.replace(old, new, 1)) == digest_of(SAMPLE)


@pytest.mark.parametrize("edit", CHANGED)
def test_a_digest_changes_with_the_code(digest_of, edit):
    old, new = CHANGED[edit]
    edited = SAMPLE.replace(old, new, 1)
    assert edited != SAMPLE
    assert digest_of(edited) != digest_of(SAMPLE)


def other_pythons():
    for minor in (11, 12, 13, 14):
        name = f"python3.{minor}"
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            yield found
    for root in (os.environ.get("PYENV_ROOT"), "~/.pyenv"):
        if root:
            yield from map(str, Path(root).expanduser().glob("versions/3.1[1234].*/bin/python"))


def test_a_digest_is_the_same_on_every_python(tmp_path):
    script = (
        "import runpy, sys; from pathlib import Path;"
        "print(runpy.run_path(sys.argv[1])['digest']([Path(sys.argv[2])]))"
    )
    sample = tmp_path / "sample.py"
    sample.write_text(SAMPLE)
    pythons = list(dict.fromkeys(other_pythons()))
    if not pythons:
        pytest.skip("no other Python of 3.11 to 3.14 is installed")
    for python in pythons:
        there = subprocess.run(
            [python, "-c", script, code_digest.__file__, sample],
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == digest([sample]), python


def test_a_digest_does_not_depend_on_this_python():
    # The hash was written by this code on Python 3.11; 3.12 to 3.14 gave the same.
    text = canonical(ast.parse(SAMPLE))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "965d21c812765651"
