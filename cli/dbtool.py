"""dbtool from a checkout: `python3 cli/dbtool.py …` is the same program as `dbtool …`."""

import sys
from pathlib import Path

# This file is called dbtool too, and Python puts its folder first.
sys.path[0] = str(Path(__file__).resolve().parent.parent / "src")

try:
    from dbtool.cli.main import console_script
except ModuleNotFoundError as error:
    sys.exit(f"error: the Python package {error.name} is missing\nhint: pip install -r requirements.txt")

if __name__ == "__main__":
    console_script()
