"""Print constraints.txt with the lowest versions that settings.ini allows: `python .ci/lowest.py >lowest.txt`.

fastcore stays as it is there: nbdev needs a later one than the package does."""

from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).parent.parent
config = ConfigParser(delimiters=["="])
config.read(root / "settings.ini", encoding="utf-8")
lowest = dict(requirement.split(">=") for requirement in config["DEFAULT"]["requirements"].split())
del lowest["fastcore"]
for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines():
    name = line.partition("==")[0]
    print(f"{name}=={lowest.pop(name.lower())}" if name.lower() in lowest else line)
assert not lowest, f"constraints.txt lacks {', '.join(lowest)}"
