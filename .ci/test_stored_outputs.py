"""Every notebook is run afresh, and its stored outputs are compared with the new ones.

`pytest .ci/test_stored_outputs.py tests` makes one queue of pages and tests: while a page waits for a disk, a timer or a worker
process, a test computes."""

import subprocess
import sys
from pathlib import Path

import pytest

root = Path(__file__).parent.parent
# Begun first, or the others would wait for them.
long = ("index", "14_cli", "10_speed", "11_batch_size", "12_distributed", "05_optim", "13_draw")
pages = [root / "nbs" / f"{name}.ipynb" for name in long]
pages += [path for path in sorted((root / "nbs").glob("*.ipynb")) if path.stem not in long]


@pytest.mark.parametrize("path", pages, ids=lambda path: path.stem)
def test_outputs_as_stored(path):
    done = subprocess.run([sys.executable, root / ".ci" / "compare_outputs.py", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
