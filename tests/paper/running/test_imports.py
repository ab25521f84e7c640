import subprocess
import sys
from pathlib import Path

from notebook_files import write

from svcca_lib.paper.running import imports


def test_sources_follow_imports_at_the_top_and_in_functions(tmp_path):
    notebook = write(
        tmp_path / "a.ipynb",
        """
        %matplotlib inline
        import numpy as np
        from svcca_lib.paper.chapter.claims import Rule
        """,
    )
    names = {path.name for path in imports.chapter_files(notebook)}
    assert {"claims.py", "__init__.py"} <= names
    assert {"chapter.py", "profiles.py", "figures.py"}.isdisjoint(names)
    write(notebook, "def f():\n    from svcca_lib.paper.chapter import chapter")
    names = {path.name for path in imports.chapter_files(notebook)}
    assert {"chapter.py", "claims.py", "trained.py", "store.py", "networks.py"} <= names
    assert "engine.py" not in names


def test_sources_of_a_module_hold_every_module_it_loads():
    """What Python imports, the syntax tree must have shown."""
    code = (
        "import sys, svcca_lib.paper.training.trained\n"
        "files = [m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'svcca_lib']\n"
        "print('\\n'.join(files))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {Path(line) for line in done.stdout.splitlines()}
    assert loaded <= set(imports.module_files(["svcca_lib.paper.training.trained"]))
