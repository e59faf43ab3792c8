#!/bin/sh
# An archive of systemd/bundle.py on a bare Debian without a network: install it, run the
# demonstration, boot systemd with the unit, change back, uninstall. By hand, as root, with
# apt install debootstrap systemd-container; FOLDER must not exist, and may be removed afterwards.
# bare_host.sh ARCHIVE FOLDER [SUITE]
set -eu
archive=$(realpath "${1:?}") folder=${2:?} suite=${3:-bookworm}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
mkdir "$folder"
folder=$(realpath "$folder")
host=$folder/host
debootstrap --variant=minbase --include=python3,systemd,systemd-sysv,dbus "$suite" "$host" \
    > "$folder/debootstrap.log"
mkdir "$host/root/carried"
tar -xf "$archive" -C "$host/root/carried" --strip-components=1

inside() {
    systemd-nspawn --quiet --register=no --keep-unit --private-network --directory="$host" \
        --machine="qkdd-bare-$$" sh -euc "$1"
}

echo "compilers and pip there: $(inside 'command -v cc gcc pip pip3 || true')"
inside '/root/carried/install.sh'
inside '/opt/qkdd/install.sh list'
inside 'cd /tmp && /opt/qkdd/bin/qkdd demo --seconds 20' | tail -n 6
sh "$here/boot_probe.sh" "$host" "$folder/boot.log"
inside '/opt/qkdd/install.sh rollback || echo "status $?"'
inside '/opt/qkdd/install.sh uninstall; ls -A /opt /etc/systemd/system/qkdd@.service 2>&1 || true'
