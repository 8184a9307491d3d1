"""The server's own regression-test database comes back as it does through `pg_dump | psql`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.conftest import MATRIX_VERSIONS, REQUIRE_MATRIX_VARIABLE
from tests.fidelity import regression

from dbtool.errors import NotFoundError
from dbtool.servers.postgres import find_server_bin


@pytest.mark.matrix
@pytest.mark.slow
@pytest.mark.parametrize("major", MATRIX_VERSIONS)
def test_regression_database(major: int, tmp_path: Path) -> None:
    try:
        regression.fetch_sources(major)
        find_server_bin(major)
    except NotFoundError as error:
        if os.environ.get(REQUIRE_MATRIX_VARIABLE) == "1":
            raise
        pytest.skip(f"{error.message}; {error.hint}")
    assert regression.compare(major, tmp_path) == []
