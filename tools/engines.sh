#!/bin/bash
# Put database servers of other versions below one directory, for the tests; the system stays as it is.
#
#   tools/engines.sh pg13 mariadb105 mysql97    fetch those that are not there yet
#   tools/engines.sh --directory                where they go (DBTOOL_TEST_ENGINES, else a cache directory)
#
# The packages come from the Debian mirror that this machine uses, out of the release that carries the
# version. apt resolves them with lists and a (void) package database of its own, so libc and all other
# libraries come too; they are unpacked, not installed, and every program is pointed at its own loader
# and libraries. They then run as plain commands, by any user, but cannot be moved to another place.
set -euo pipefail

RECIPE=1 # of unpacking; another number fetches everything anew

# Which Debian release carries which server. Newer releases move, and their versions with them.
engine_release() {
    case $1 in
    pg13) echo bullseye ;;
    pg15) echo bookworm ;;
    pg17) echo trixie ;;
    pg18) echo forky ;;
    mariadb105) echo bullseye ;;
    mariadb1011) echo bookworm ;;
    mariadb118) echo trixie ;;
    mysql97) echo sid ;;
    *) fail "unknown engine: $1 (known: pg13 pg15 pg17 pg18 mariadb105 mariadb1011 mariadb118 mysql97)" ;;
    esac
}
engine_packages() {
    case $1 in
    pg*) echo "postgresql-${1#pg} postgresql-client-${1#pg}" ;;
    mariadb105) echo mariadb-{server,server-core,client,client-core}-10.5 mariadb-backup ;;
    mariadb*) echo mariadb-{server,server-core,client,client-core,backup} ;;
    mysql*) echo mysql-{server,server-core,client,client-core} ;;
    esac
}
engine_program() { # the server of NAME: where it is below a directory of unpacked packages
    case $1 in
    pg*) echo "usr/lib/postgresql/${1#pg}/bin/postgres" ;;
    mariadb*) echo usr/sbin/mariadbd ;;
    mysql*) echo usr/sbin/mysqld ;;
    esac
}
engine_version() { "$DIRECTORY/$1/$(engine_program "$1")" --version; }

# Dependencies that only installing or administering would use.
UNUSED='^(perl.*|libperl.*|lib.*-perl|python3.*|libpython.*|.*debconf.*|libllvm.*|libz3-4|systemd.*|init-.*|sysv.*|lsb-.*'
UNUSED+='|locales.*|libc-bin|libc-l10n|postgresql-common.*|postgresql-client-common|ssl-cert|openssl.*|ca-certificates'
UNUSED+='|adduser|passwd|login.*|libpam-.*|util-linux.*|mount|bsdutils|debianutils|coreutils|bash|dash|tar|gzip|sed|grep'
UNUSED+='|findutils|diffutils|dpkg|apt.*|netbase|sensible-utils|ucf|logrotate|cron.*|procps|psmisc|hostname|base-.*'
UNUSED+='|galera-.*|rsync|socat|lsof|iproute2|libbpf.*|libelf.*|libmnl.*|libxtables.*|iputils.*|bzip2|xz-utils'
UNUSED+='|gcc-.*-base|readline-common|ncurses-.*|.*awk|libsasl2-modules|libldap-common|krb5-locales|media-types|sudo)$'

fail() { echo "engines.sh: $*" >&2; exit 1; }

default_directory() {
    if [ "$(id -u)" = 0 ]; then echo /var/cache/dbtool-engines; else echo "${XDG_CACHE_HOME:-$HOME/.cache}/dbtool-engines"; fi
}

read_mirror() { # the archive's and the security archive's address, from the system's own sources
    local sources uris
    sources=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true)
    uris=$(awk '/^URIs:/ {for (i = 2; i <= NF; i++) print $i}
                /^deb / {for (i = 2; i <= NF; i++) if ($i ~ /:\//) {print $i; break}}' <<<"$sources" | sort -u)
    MIRROR=$(grep -v security <<<"$uris" | grep debian | head -1) || fail "no Debian mirror in apt's sources"
    SECURITY=$(grep security <<<"$uris" | head -1 || true)
}

apt_options() { # apt_options RELEASE: an apt that shares nothing with the system's
    local place=$WORK/$1
    APT=(-o "Dir::Etc::SourceList=$place/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences=/dev/null
        -o Dir::Etc::PreferencesParts=/dev/null -o "Dir::State=$place/state" -o "Dir::State::Status=$place/status"
        -o "Dir::Cache=$place/cache" -o Debug::NoLocking=true -o "APT::Sandbox::User=$(id -un)"
        -o APT::Install-Recommends=false -o Acquire::Languages=none -o Acquire::Retries=3
        -o APT::Update::Post-Invoke-Success::=/bin/true
        -o Acquire::Check-Valid-Until=false) # a mirror may have stopped following; signatures are checked all the same
}

read_lists() { # read_lists RELEASE [main]: with the release's updates and security fixes, or without
    local release=$1 place=$WORK/$1 signed=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$place/state/lists/partial" "$place/cache/archives/partial"
    : >"$place/status"
    echo "deb [signed-by=$signed] $MIRROR $release main" >"$place/sources.list"
    if [ "${2:-}" != main ] && [ "$release" != forky ] && [ "$release" != sid ]; then
        echo "deb [signed-by=$signed] $MIRROR $release-updates main" >>"$place/sources.list"
        [ -z "$SECURITY" ] || echo "deb [signed-by=$signed] $SECURITY $release-security main" >>"$place/sources.list"
    fi
    apt_options "$release"
    apt-get "${APT[@]}" -qq update >"$place/log" 2>&1 && ! grep -q '^[EW]: Failed' "$place/log"
}

download() { # download RELEASE PACKAGE…: them and all they depend on, into $WORK/RELEASE/debs
    local release=$1 closure
    shift
    closure=$(apt-get "${APT[@]}" -s install "$@" | awk '/^Inst / {print $2 "=" substr($3, 2)}' | grep -Ev "$UNUSED_VERSIONED")
    rm -rf "$WORK/$release/debs"
    mkdir "$WORK/$release/debs"
    # shellcheck disable=SC2086
    (cd "$WORK/$release/debs" && apt-get "${APT[@]}" -qq download $closure >"$WORK/$release/log" 2>&1)
}
UNUSED_VERSIONED=${UNUSED/%)$/)=}

find_patchelf() {
    PATH=$PATH:$DIRECTORY/.tools/usr/bin
    command -v patchelf >/dev/null && return
    local own
    own=$(. /etc/os-release && echo "$VERSION_CODENAME")
    read_lists "$own" || read_lists "$own" main || fail "apt cannot read its lists for $own"
    (cd "$WORK" && apt-get "${APT[@]}" -qq download patchelf >/dev/null) || fail "patchelf cannot be fetched: install it"
    dpkg -x "$WORK"/patchelf_*.deb "$DIRECTORY/.tools"
}

point_at_own_libraries() { # point_at_own_libraries PREFIX
    local prefix=$1 loader libraries file
    loader=$(find "$prefix" -name 'ld-linux-*.so.*' \( -type f -o -type l \) | sort | head -1)
    [ -n "$loader" ] || fail "no dynamic loader below $prefix"
    libraries=$(ls -d "$prefix"/{,usr/}lib{/*-linux-gnu,} "$prefix"/usr/lib/mysql/private 2>/dev/null | paste -sd: || true)
    while IFS= read -r -d '' file; do
        [ "$(head -c4 "$file" | tr -d '\0')" = $'\x7fELF' ] || continue
        case $file in */ld-*.so* | */libc.so.6 | */libc-2.*) continue ;; esac
        if patchelf --print-interpreter "$file" >/dev/null 2>&1; then
            patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$file"
        elif [ -n "$(patchelf --print-rpath "$file" 2>/dev/null)" ]; then # its own path would hide the program's
            patchelf --force-rpath --set-rpath "$libraries" "$file"
        fi
    done < <(find "$prefix" -type f \( -perm -u+x -o -name '*.so*' \) -print0)
}

fetch() {
    local name=$1 release new deb
    release=$(engine_release "$name")
    [ "$(cat "$DIRECTORY/$name/.recipe" 2>/dev/null)" = "$RECIPE" ] && return
    echo "Fetching $name from Debian's $release …" >&2
    find_patchelf
    # An old release may have lost its updates, or list files that the mirror no longer has: then without them.
    # shellcheck disable=SC2046
    { read_lists "$release" && download "$release" $(engine_packages "$name"); } ||
        { read_lists "$release" main && download "$release" $(engine_packages "$name"); } ||
        { sed -E 's#https?://[^ ]*/##' "$WORK/$release/log" >&2; fail "$name cannot be fetched"; }
    new=$DIRECTORY/$name
    rm -rf "$new"
    mkdir -p "$new"
    for deb in "$WORK/$release/debs"/*.deb; do dpkg -x "$deb" "$new"; done
    rm -rf "${new:?}"/usr/share/{doc,man,info,locale,lintian} "${new:?}"/var "$new"/usr/lib/postgresql/*/lib/{llvmjit.so,bitcode}
    point_at_own_libraries "$new"
    chmod -R a+rX "$new"
    engine_version "$name" >&2
    echo "$RECIPE" >"$new/.recipe"
}

DIRECTORY=${DBTOOL_TEST_ENGINES:-$(default_directory)}
case ${1:-} in
'' | -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0" && exit ;;
--directory) echo "$DIRECTORY" && exit ;;
esac
command -v apt-get >/dev/null || fail "apt is needed: other versions are fetched from Debian"
mkdir -p "$DIRECTORY"
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
read_mirror
for name in "$@"; do fetch "$name"; done
