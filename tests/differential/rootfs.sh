#!/usr/bin/env bash
# Makes the Debian root file system that the differential test runs in, on the host's chroot and in
# the sandbox: `rootfs.sh DIR`. Needs root, debootstrap and Debian's packages. A finished one is kept.
set -euo pipefail
dir=${1:?usage: rootfs.sh DIR}
stamp="$dir/.complete-1"
[ -e "$stamp" ] && exit 0
[ "$(id -u)" = 0 ] || { echo "rootfs.sh: needs root: debootstrap makes device nodes and sets owners" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "rootfs.sh: debootstrap is not installed" >&2; exit 1; }
packages=python3,gcc,make,libc6-dev,git,perl,less,vim-tiny,sqlite3,procps,golang-go,strace,file,bc,xz-utils,zip,unzip,bsdextrautils,dpkg-dev
mirror=$(awk '$1=="deb"{print $2; exit} $1=="URIs:"{print $2; exit}' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true)
mirror=${mirror:-http://deb.debian.org/debian}
rm -rf "$dir.partial"
mkdir -p "$dir.partial"
debootstrap --variant=minbase --include="$packages" bookworm "$dir.partial" "$mirror" >"$dir.log" 2>&1 ||
  { tail -n 5 "$dir.log" >&2; exit 1; }
cp /etc/resolv.conf "$dir.partial/etc/resolv.conf" 2>/dev/null || true
echo "deb-src $mirror bookworm main" >>"$dir.partial/etc/apt/sources.list"
cp -a /etc/apt/apt.conf.d/. "$dir.partial/etc/apt/apt.conf.d/" 2>/dev/null || true
chroot "$dir.partial" sh -ec '
  apt-get update -qq
  mkdir -p /src && cd /src
  apt-get source -qq lua5.4 zlib >/dev/null
  mv lua5.4-*/ lua && mv zlib-*/ zlib
  rm -f /src/*.tar.* /src/*.dsc /src/*.debian.*
  printf "#!/bin/sh\nexit 0\n" >/usr/local/bin/true-script && chmod 755 /usr/local/bin/true-script
' >>"$dir.log" 2>&1 || { tail -n 5 "$dir.log" >&2; exit 1; }
rm -rf "$dir"
mv "$dir.partial" "$dir"
touch "$stamp"
