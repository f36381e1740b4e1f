"What GitHub runs is what a person can run: every command of the workflows stands in README.md or CONTRIBUTING.md."

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

root = Path(__file__).parent.parent


@pytest.mark.parametrize("path", sorted((root / ".github" / "workflows").glob("*.yaml")), ids=lambda path: path.stem)
def test_commands_are_documented(path):
    texts = "".join((root / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md"))
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands and all("timeout-minutes" in job for job in jobs.values())
    missing = [command for line in commands for command in line.split(" && ") if command not in texts]
    assert not missing, missing


def test_lowest_versions():
    done = subprocess.run([sys.executable, root / ".ci" / "lowest.py"], capture_output=True, text=True, check=True)
    lowest = dict(line.split("==") for line in done.stdout.splitlines() if "==" in line)
    tested = dict(line.split("==") for line in (root / "constraints.txt").read_text().splitlines() if "==" in line)
    assert lowest.keys() == tested.keys()
    others = {name for name in tested if lowest[name] != tested[name]}
    assert {"torch", "numpy", "matplotlib", "pillow"} <= others and "fastcore" not in others
