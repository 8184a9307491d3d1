"""Builds the C part of `dbtool.rows` where that works; everything else stands in pyproject.toml.

A compiler that is missing or fails does not fail the installation: the pure-Python twin gives the
same bytes and numbers, slower. `dbtool doctor` says which of the two is in use.
"""

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = ("rows", "packets", "inserts", "keysets", "keyhashes", "integers")
HEADERS = (
    "binary",
    "fields",
    "inserts",
    "keys",
    "keysets",
    "keytable",
    "literals",
    "packets",
    "reader",
    "tally",
    "xxh64",
)

NATIVE_ROWS = Extension(
    "dbtool.rows._rows",
    [f"src/dbtool/rows/_{source}.c" for source in SOURCES],
    depends=[f"src/dbtool/rows/_{header}.h" for header in HEADERS],
    extra_compile_args=["-O3"] if sys.platform != "win32" else [],
    optional=True,
)


class BuildOptional(build_ext):
    """Says what a failed compilation means, where setuptools only says that it failed."""

    def run(self) -> None:
        super().run()
        if not all(Path(output).exists() for output in self.get_outputs()):
            self.warn(
                "the C part of dbtool.rows was not built (is there a C compiler, and python3-dev?); "
                "dbtool uses its pure-Python twin: the same bytes and numbers, but slower"
            )


setup(ext_modules=[NATIVE_ROWS], cmdclass={"build_ext": BuildOptional})
