#!/bin/bash
# Install the Debian packages that dbtool's demo, tests and C part need, if one is missing and we may.
# Where we may not (no apt, no root, no sudo) it says what to install, and fails only without venv.
# Installing PostgreSQL makes and starts no server on this machine; of MariaDB only the programs are
# installed, without the package that makes a service of them.
set -euo pipefail

PYTHON=${PYTHON:-python3}

missing=()
need() { # need PACKAGES CHECK…: the packages are missing unless the check succeeds
    local packages=$1
    shift
    if ! "$@" >/dev/null 2>&1; then read -ra more <<<"$packages" && missing+=("${more[@]}"); fi
}
has_server() { command -v initdb || compgen -G "/usr/lib/postgresql/*/bin/initdb"; }
has_contrib() { has_server && { ! [ -d /usr/share/postgresql ] || compgen -G "/usr/share/postgresql/*/extension/hstore.control"; }; }
has_mariadb() { command -v mariadbd || compgen -G "/usr/*bin/mariadbd"; }
is_mysql() { command -v "$1" && ! "$1" --version | grep MariaDB; } # MariaDB has programs of these names too
has_mysql() { is_mysql mysqld || is_mysql mysql; } # installing MariaDB would remove it
has_headers() { "$PYTHON" -c 'import os, sysconfig; os.stat(os.path.join(sysconfig.get_path("include"), "Python.h"))'; }
has_venv() { "$PYTHON" -c 'import venv, ensurepip'; }

find_missing() {
    missing=()
    need postgresql has_server
    need postgresql-contrib has_contrib
    need postgresql-client command -v pg_dump
    if ! has_mysql >/dev/null 2>&1; then
        need mariadb-server-core has_mariadb
        need mariadb-client command -v mariadb-dump
    fi
    need zstd command -v zstd
    need "gcc libc6-dev" command -v "${CC:-gcc}"
    need python3-dev has_headers
    need python3-venv has_venv
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
may_be_root() { [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }; }

# Older releases have the version in the name, and no package without.
name_by_version() { # name_by_version PACKAGE
    local i named
    for i in "${!missing[@]}"; do
        [ "${missing[i]}" = "$1" ] && ! apt-cache show "$1" >/dev/null 2>&1 || continue
        named=$(apt-cache pkgnames "$1-" | sort -V | tail -1)
        [ -z "$named" ] || missing[i]=$named
    done
}

# A new cluster would be a server that nobody asked for; this says so for as long as we install.
CLUSTER_SWITCH=/etc/postgresql-common/createcluster.d/dbtool-no-cluster.conf
install_packages() {
    as_root mkdir -p "${CLUSTER_SWITCH%/*}"
    echo "create_main_cluster = false" | as_root tee "$CLUSTER_SWITCH" >/dev/null
    trap 'as_root rm -f "$CLUSTER_SWITCH"' EXIT
    as_root apt-get -qq update
    name_by_version mariadb-server-core
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install \
        --no-install-recommends --no-remove "${missing[@]}" >/dev/null
}

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "dbtool needs Python 3.10 or newer; $PYTHON is $("$PYTHON" --version 2>&1). Try: make PYTHON=python3.12" >&2
    exit 1
}
find_missing
[ ${#missing[@]} -gt 0 ] || exit 0

if command -v apt-get >/dev/null && may_be_root; then
    echo "Installing Debian packages: ${missing[*]}"
    install_packages
    find_missing
fi
if [ ${#missing[@]} -gt 0 ]; then
    echo "Not on this machine, and not installed: ${missing[*]} (the names of Debian's packages)." >&2
    echo "Without a C compiler and python3-dev, dbtool works more slowly; without postgresql, its demo" >&2
    echo "and tests take a server from a Python wheel; without mariadb-server-core, they leave MariaDB out." >&2
fi
has_venv 2>/dev/null || { echo "Python's venv module is needed: install python3-venv." >&2; exit 1; }
