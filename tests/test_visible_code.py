"Whoever copies the code that a page shows has every name that it uses. (`.ci/compare_outputs.py` runs that code.)"

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from test_compare_outputs import compare

notebooks = sorted((Path(__file__).parent.parent / "nbs").glob("*.ipynb"))
without_code = re.compile(r"^#\| *echo: false", re.M)  # only what comes of it is shown


@pytest.mark.parametrize("path", notebooks, ids=lambda path: path.stem)
def test_every_name_is_defined(path):
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    program = "\n\n".join(source for source in cells if not (compare.HIDDEN.search(source) or without_code.search(source)))
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--stdin-filename", "page.py", "-"]
    done = subprocess.run(command, input=program, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
