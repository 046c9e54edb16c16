# Sourced by build and image: Debian packages of any architecture, installed (host tools) or only unpacked below the
# cache (everything foreign). It keeps an apt set-up of its own there, so that the machine's package lists, architectures
# and pins stay as they are. The archive's addresses and keys are those the machine's own apt uses.
# shellcheck shell=bash

cross=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$cross")
cache=${TELLTALE_CROSS:-$cross/cache}
suite=bookworm

say() { printf '%s\n' "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}

# need PACKAGE...: host tools, from the machine's own apt.
need() {
    local missing=() p
    for p; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null || die "these are needed and there is no apt-get to install them: ${missing[*]}"
    [ "$(id -u)" = 0 ] || die "these packages are missing, and only root may install them: apt-get install ${missing[*]}"
    say "installing ${missing[*]}"
    APT_CONFIG= DEBIAN_FRONTEND=noninteractive apt-get -qq update
    APT_CONFIG= DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
}

# The address of one suite of the archive, as the machine's own apt has it.
archive_of() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' | awk -v s="$1" '$2 == s { print $1; exit }'
}

# apt with the private set-up. Container images switch its caches off, which makes every call take seconds.
caches=(-o Dir::Cache::pkgcache=pkgcache.bin -o Dir::Cache::srcpkgcache=srcpkgcache.bin)
archive_get() { apt-get "${caches[@]}" "$@"; }
archive_show() { apt-cache "${caches[@]}" "$@"; }

# Sets up the private apt and refreshes its lists once a day.
archive() {
    [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || die "this needs Debian or a derivative on amd64"
    local apt=$cache/apt main security signed=
    export APT_CONFIG=$apt/apt.conf
    [ -z "$(find "$apt/fresh" -mtime -1 2>/dev/null)" ] || return 0
    main=$(APT_CONFIG='' archive_of "$suite")
    security=$(APT_CONFIG='' archive_of "$suite-security")
    [ -n "$main" ] && [ -n "$security" ] || die "apt on this machine knows no $suite and $suite-security (Debian 12)"
    [ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ] ||
        signed=' signed-by=/usr/share/keyrings/debian-archive-keyring.gpg'
    mkdir -p "$apt"/{lists,cache/archives}/partial "$apt/preferences" "$cache/debs"
    printf 'deb [arch=amd64,arm64,armhf,armel%s] %s %s main\n' \
        "$signed" "$main" "$suite" "$signed" "$main" "$suite-updates" "$signed" "$main" "$suite-backports" \
        >"$apt/sources.list"
    # Security's lists of the other architectures can lag behind their signature, which would drop the whole suite.
    printf 'deb [arch=amd64,arm64%s] %s %s main\n' "$signed" "$security" "$suite-security" >>"$apt/sources.list"
    cat >"$APT_CONFIG" <<CONF
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; "armhf"; "armel"; };
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Cache "$apt/cache";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "$apt/preferences";
CONF
    : >"$apt/status"
    archive_get -qq update || say "warning: the package lists could not be refreshed; going on with what is there"
    touch "$apt/fresh"
}

# unpack FOLDER PACKAGE[:ARCH][/SUITE]...: FOLDER holds exactly these packages afterwards, in their present versions.
unpack() {
    local into=$1 file files
    shift
    files=$(archive_get download --print-uris "$@" | awk '{ print $2 }' | sort) || die "not in the archive: $*"
    [ -n "$files" ] || die "not in the archive: $*"
    [ "$files" != "$(cat "$into/.packages" 2>/dev/null)" ] || return 0
    say "unpacking $(wc -w <<<"$files") packages into ${into#"$root"/}"
    (cd "$cache/debs" && archive_get -qq download "$@")
    rm -rf "$into"
    mkdir -p "$into"
    for file in $files; do
        # apt writes an epoch's colon as %3a, in the address and on the disk alike.
        dpkg-deb -x "$cache/debs/$file" "$into"
    done
    printf '%s\n' "$files" >"$into/.packages"
}
