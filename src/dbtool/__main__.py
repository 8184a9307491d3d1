"""`python -m dbtool`."""

from dbtool.cli.main import console_script

if __name__ == "__main__":
    console_script()
