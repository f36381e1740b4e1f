"What a reader can copy from a page, from top to bottom, runs in an empty folder, with the package installed."

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

notebooks = sorted((Path(__file__).parent.parent / "nbs").glob("*.ipynb"))
hidden = re.compile(r"^#\| *(hide$|default_exp|include: false|eval: false|echo: false)", re.M)
slow = re.compile(r"^#\| *notest", re.M)  # CI runs it where it compares the outputs


def visible_code(path):
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    return [source for source in cells if not hidden.search(source)]


@pytest.mark.parametrize("path", notebooks, ids=lambda path: path.stem)
def test_every_name_is_defined(path):
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--stdin-filename", "page.py", "-"]
    done = subprocess.run(command, input="\n\n".join(visible_code(path)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", notebooks, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    program = "\n\n".join(source for source in visible_code(path) if not slow.search(source))
    (tmp_path / "page.py").write_text(program, encoding="utf-8")
    environment = {**os.environ, "MPLBACKEND": "Agg", "TQDM_DISABLE": "1"}
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
