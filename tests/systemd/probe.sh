# The life of a service, told as NAME=value lines. Runs inside the system that boot.sh boots.
set -eu
qkdd=/opt/qkdd/bin/qkdd unit=qkdd@a
echo "started=yes"
systemd-sysusers
cd /etc/qkdd
umask 077
$qkdd pki . --node a > /dev/null
cat > a.toml <<'END'
[node]
id = "a"
certificate = "a.pem"
key = "a.key"
ca = "ca.pem"
status_socket = "/run/qkdd/a/status.sock"
[store]
path = "/var/lib/qkdd/a/store.sqlite"
master_key = "$CREDENTIALS_DIRECTORY/master.key"
[delivery]
listen = "127.0.0.1:8443"
[[links]]
name = "a-b"
peer = "b"
role = "receiver"
connect = "127.0.0.1:9"
receiver.tagger = { model = "s15-tdc1", resource = "tcp://127.0.0.1:9" }
END
head -c 32 /dev/urandom |
    systemd-creds encrypt --with-key=host --name=master.key - a.master.key.cred 2> /dev/null
$qkdd psk make a-b.psk > /dev/null
chown -R qkdd: /etc/qkdd
systemd-run --quiet --pipe --wait -p User=qkdd -p StateDirectory=qkdd/a \
    -p LoadCredentialEncrypted=master.key:/etc/qkdd/a.master.key.cred \
    $qkdd psk install /etc/qkdd/a.toml a-b /etc/qkdd/a-b.psk > /dev/null
systemctl daemon-reload

show() { systemctl show --property="$1" --value "$unit"; }
wait_for() { # PROPERTY VALUE
    for _ in $(seq 150); do
        [ "$(show "$1")" = "$2" ] && return
        sleep 0.1
    done
    echo "timeout=$1 is $(show "$1"), not $2"
}

systemctl start "$unit"
echo "active=$(show ActiveState)"
wait_for StatusText "a-b down (all attempts to connect to 127.0.0.1:9 failed)"
echo "status=$(show StatusText)"
pid=$(show MainPID)
echo "user=$(stat -c %U "/proc/$pid")"
echo "capabilities=$(sed -n 's/^CapEff:\t//p' "/proc/$pid/status")"
echo "seccomp=$(sed -n 's/^Seccomp:\t//p' "/proc/$pid/status")"
echo "core_limit=$(sed -n 's/^Max core file size *\([^ ]*\) .*/\1/p' "/proc/$pid/limits")"
echo "answers=$($qkdd status a.toml | head -n 1 | cut -d, -f1)"
systemctl reload "$unit" && echo "reload=$(show ActiveState) $([ "$(show MainPID)" = "$pid" ] && echo same)"
sed -i 's/8443/8444/' a.toml
systemctl reload "$unit" 2> /dev/null && echo "bad_reload=taken" || echo "bad_reload=refused $(show ActiveState)"
sed -i 's/8444/8443/' a.toml
kill -STOP "$pid"
wait_for NRestarts 1
wait_for ActiveState active
echo "result_of_hang=$(journalctl --unit="$unit" --grep="Failed with result" --output=cat)"
echo "traced=$(journalctl --unit="$unit" --grep="Fatal Python error" --output=cat)"
echo "other_pid=$([ "$(show MainPID)" != "$pid" ] && echo yes)"
kill -KILL "$(show MainPID)"
wait_for NRestarts 2
wait_for ActiveState active
systemctl stop "$unit"
echo "after_stop=$(show ActiveState) $(show Result)"
echo "safe_runs=$(journalctl --unit="$unit" --output=cat | grep -c '^no transmitter here$')"
echo "priority=$(journalctl --unit="$unit" --priority=warning --output=cat |
    grep -c 'service failed' | sed 's/^[1-9].*/seen/')"
rm a.master.key.cred
systemctl start "$unit" 2> /dev/null && echo "without_credential=started" ||
    echo "without_credential=refused"
systemctl stop "$unit"
echo "finished=yes"
