#!/bin/sh
# Boot systemd in the folder HOST, where /opt/qkdd and the unit are installed, without a network;
# run probe.sh there, and print what it found. BOOT_LOG says why, if it fails.
# boot_probe.sh HOST BOOT_LOG
set -eu
host=${1:?} log=${2:?}
system=$host/etc/systemd/system
mkdir -p "$system/qkdd@.service.d"
cp "$(dirname "$0")/probe.sh" "$host/opt/probe.sh"
printf '[Service]\nWatchdogSec=3\nRestartSec=100ms\n' > "$system/qkdd@.service.d/short.conf"
cat > "$system/probe.target" <<END
[Unit]
Requires=basic.target probe.service
END
cat > "$system/probe.service" <<END
[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/sh /opt/probe.sh
ExecStopPost=/bin/systemctl --force --force poweroff
StandardOutput=append:/opt/probe.log
StandardError=append:/opt/probe.log
END
: > "$host/etc/machine-id"
timeout 90 systemd-nspawn --quiet --register=no --keep-unit --private-network --capability=all \
    --directory="$host" --machine="qkdd-test-$$" --boot systemd.unit=probe.target \
    < /dev/null > "$log" 2>&1 || true
cat "$host/opt/probe.log"
