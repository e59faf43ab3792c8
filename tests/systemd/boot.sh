#!/bin/sh
# Boot a real systemd on a throw-away copy of this host's files, with the unit installed, and run
# probe.sh in it (boot_probe.sh). In a mount namespace of its own; nothing is written outside FOLDER.
# boot.sh FOLDER ROOT SITE PYTHON_PREFIX PYTHON
set -eu
folder=$1 root=$2 site=$3 prefix=$4 python=$5
mount -t tmpfs none "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/host"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/host"
host=$folder/host
mkdir -p "$host/opt/qkdd/bin" "$host/opt/qkdd/lib" "$host/opt/qkdd/site" "$host/opt/qkdd/python" \
    "$host/etc/qkdd" "$host/etc/sysusers.d"
for package in qkdd drivers; do
    mkdir "$host/opt/qkdd/lib/$package"
    mount --bind "$root/$package" "$host/opt/qkdd/lib/$package"
done
mount --bind "$site" "$host/opt/qkdd/site"
mount --bind "$prefix" "$host/opt/qkdd/python"
cat > "$host/opt/qkdd/bin/qkdd" <<END
#!/bin/sh
export PYTHONPATH=/opt/qkdd/lib:/opt/qkdd/site PYTHONDONTWRITEBYTECODE=1
export LD_LIBRARY_PATH=/opt/qkdd/python/lib
exec /opt/qkdd/python/bin/$python -P -m qkdd.cli "\$@"
END
chmod 755 "$host/opt/qkdd/bin/qkdd"
cp "$root/systemd/qkdd@.service" "$host/etc/systemd/system/"
cp "$root/systemd/qkdd.sysusers" "$host/etc/sysusers.d/qkdd.conf"
sh "$root/tests/systemd/boot_probe.sh" "$host" "$folder/boot.log" ||
    { cat "$folder/boot.log" >&2; exit 77; }
