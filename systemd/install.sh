#!/bin/sh
# Install, change back or remove qkdd on a relay host without a network, as root:
# docs/operating.md, "Install without a network". DESTDIR= puts it below another folder, and leaves
# users and systemd alone.
set -eu

usage() {
    cat <<'TEXT'
install.sh             install the release beside this script, and make it the one in use
install.sh rollback    use the release before, with its unit
install.sh list        every installed release; * is in use, < the one that rollback takes
install.sh prune       remove releases but those two
install.sh uninstall   remove every release, the unit and sysusers.d/qkdd.conf; keys stay

Exit status: 0 done, 1 failed: nothing in use has changed (the reason is on stderr), 2 wrong usage.
Running relays go on with the release they were started with, until they are restarted.
TEXT
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

root=${DESTDIR:-}
link=$root/opt/qkdd
releases=$root/opt/qkdd-releases
units=$root/etc/systemd/system
sysusers=$root/etc/sysusers.d
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
umask 022

need_root() {
    [ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "must be root: sudo $0"
}

needs() { # NAME: what the archive needs of this host
    sed -n "s/^$1=//p" "$here/needs"
}

# What cannot work is refused before anything is written.
check_host() {
    [ -f "$here/needs" ] || fail "no archive here: unpack it, and run the install.sh inside"
    (cd "$here" && sha256sum --check --strict --quiet SHA256SUMS >&2) ||
        fail "files differ from SHA256SUMS: carry the archive here again"
    python=$(command -v "python$(needs python)") ||
        fail "no python$(needs python) here: this archive is for it; apt install python3, or make" \
            "the archive with this host's Python: $(python3 --version 2>&1)"
    "$python" -c 'import venv' 2> /dev/null ||
        fail "$python has no module venv: apt install python3"
    [ "$(uname -m)" = "$(needs machine)" ] ||
        fail "this host is $(uname -m), the archive for $(needs machine)"
    glibc=$(getconf GNU_LIBC_VERSION 2> /dev/null | cut -d' ' -f2)
    newest=$(printf '%s\n' "${glibc:-0}" "$(needs glibc)" | sort -V | tail -n 1)
    [ "$newest" = "${glibc:-0}" ] ||
        fail "this host has glibc ${glibc:-none}, the archive needs $(needs glibc): make it with" \
            "--glibc ${glibc:-X.Y}"
    if [ -e "$link" ] && [ ! -L "$link" ]; then
        fail "$link is a folder of another installation: move it away first"
    fi
}

# The release is named for all of its wheels: two builds of one version lie side by side.
install_release() {
    need_root
    check_host
    version=$(sed -n 's/^qkdd==\([^ ]*\) .*/\1/p' "$here/requirements.txt")
    name=$version-$(sha256sum "$here/requirements.txt" | cut -c1-8)
    new=$releases/$name
    if [ ! -e "$new/complete" ]; then
        rm -rf "$new"
        mkdir -p "$releases"
        trap 'rm -rf "$new"; echo "install.sh: not installed; nothing in use has changed" >&2' EXIT
        fill "$new"
        : > "$new/complete"
        trap - EXIT
    fi
    use "$name"
    echo "$name is in use"
    next_steps
}

fill() { # FOLDER: a virtual environment with exactly the wheels of the archive, and no pip
    "$python" -m venv --without-pip "$1"
    pip=$(echo "$here"/wheels/pip-*.whl)
    "$1/bin/python" "$pip/pip" --isolated --quiet --disable-pip-version-check install \
        --no-index --find-links "$here/wheels" --require-hashes --only-binary :all: \
        --no-cache-dir --root-user-action ignore --requirement "$here/requirements.txt"
    "$1/bin/qkdd" --version > /dev/null || fail "the new release does not start"
    twins=$("$1/bin/python" -I -c "
from qkdd.daemon.kernels import TWIN, kernel_backends
print(*[name for name, form in kernel_backends().items() if form == TWIN])")
    [ -z "$twins" ] || fail "kernels that do not load here: $twins"
    mkdir -p "$1/share/qkdd"
    cp -R "$here/systemd" "$here/configs" "$here/docs" "$here/LICENSE" "$here/needs" \
        "$here/requirements.txt" "$1/share/qkdd/"
    cp "$here/install.sh" "$1/"
}

use() { # NAME: switch in one step, and remember the release before
    before=$(current)
    place_unit "$releases/$1"
    point "$link" "qkdd-releases/$1"
    [ -z "$before" ] || [ "$before" = "$1" ] || point "$releases/previous" "$before"
    [ -n "$root" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload
}

place_unit() { # FOLDER of a release
    mkdir -p "$units" "$sysusers" "$root/etc"
    cp "$1/share/qkdd/systemd/qkdd.sysusers" "$sysusers/qkdd.conf"
    [ -n "$root" ] || systemd-sysusers qkdd.conf
    cp "$1/share/qkdd/systemd/qkdd@.service" "$units/.qkdd@.service.new"
    mv -f "$units/.qkdd@.service.new" "$units/qkdd@.service"
    [ -d "$root/etc/qkdd" ] || mkdir -m 700 "$root/etc/qkdd"
    [ -n "$root" ] || chown qkdd: /etc/qkdd
}

point() { # LINK TARGET: rename(2), so that there is no moment without the link
    ln -sfn "$2" "$1.new"
    mv -fT "$1.new" "$1"
}

current() {
    [ ! -L "$link" ] || basename "$(readlink "$link")"
}

previous() {
    [ ! -L "$releases/previous" ] || readlink "$releases/previous"
}

running() { # relays that run now, a word each
    [ -n "$root" ] || [ ! -d /run/systemd/system ] ||
        systemctl list-units --plain --no-legend --state=active,activating 'qkdd@*' |
        cut -d' ' -f1 | tr '\n' ' '
}

next_steps() {
    relays=$(running)
    if [ -n "$relays" ]; then
        echo "still running what they were started with; one after the other:"
        for relay in $relays; do echo "  systemctl restart $relay"; done
    fi
}

rollback() {
    need_root
    before=$(previous)
    [ -n "$before" ] || fail "there is no release before"
    [ -e "$releases/$before/complete" ] || fail "$releases/$before is not there any more"
    use "$before"
    echo "$before is in use again"
    next_steps
}

list() {
    for folder in "$releases"/*/complete; do
        name=$(basename "$(dirname "$folder")") mark=' '
        [ -e "$folder" ] && [ "$name" != previous ] || continue
        [ "$name" != "$(previous)" ] || mark='<'
        [ "$name" != "$(current)" ] || mark='*'
        echo "$mark $name $(sed -n 's/^source=//p' "$releases/$name/share/qkdd/needs")"
    done
}

prune() {
    need_root
    list | while read -r line; do
        case $line in
        [*\<]*) ;;
        *)
            name=${line%% *}
            rm -rf "${releases:?}/$name"
            echo "$name removed"
            ;;
        esac
    done
}

uninstall() {
    need_root
    relays=$(running)
    [ -z "$relays" ] || fail "relays run: systemctl disable --now $relays"
    rm -f "$link" "$units/qkdd@.service" "$sysusers/qkdd.conf"
    rm -rf "$releases"
    [ -n "$root" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload
    echo "removed; left are keys, configuration and user:"
    echo "  $root/var/lib/qkdd $root/etc/qkdd, user qkdd (qkdd zeroise would have destroyed the keys)"
}

[ $# -le 1 ] || { usage >&2; exit 2; }
case ${1:-install} in
install) install_release ;;
rollback | list | prune | uninstall) "$1" ;;
-h | --help) usage ;;
*) usage >&2; exit 2 ;;
esac
