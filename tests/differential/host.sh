#!/usr/bin/env bash
# Runs one case under the host's kernel: `host.sh ROOTFS SCRATCH PROGRAM`, the script on stdin. The root file
# system is an overlay that is thrown away; processes are in a pid namespace of their own. PROGRAM is /opt/threads.
set -euo pipefail
rootfs=$1 scratch=$2 program=$3
mkdir -p "$scratch/upper" "$scratch/work" "$scratch/root"
script=$(cat)
export script rootfs scratch program
exec unshare --mount --pid --fork --kill-child --ipc --uts bash -ec '
  mount --make-rprivate /
  mount -t overlay overlay -o "lowerdir=$rootfs,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
  cd "$scratch/root"
  touch opt/threads
  mount --bind "$program" opt/threads
  mount -t proc proc proc
  mount -t sysfs -o ro sysfs sys
  mount -t tmpfs -o mode=755 tmpfs dev
  for d in null zero full random urandom tty; do touch dev/$d; mount --bind /dev/$d dev/$d; done
  mkdir dev/pts dev/shm dev/mqueue
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
  mount -t tmpfs -o mode=1777 tmpfs dev/shm
  ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
  ln -s /proc/self/fd/0 dev/stdin; ln -s /proc/self/fd/1 dev/stdout; ln -s /proc/self/fd/2 dev/stderr
  # Signals that whoever runs the test ignores (or its libc: 32 and 33) are nothing of the case.
  # So are its open files.
  exec chroot . /usr/bin/perl -MPOSIX -e "POSIX::close(\$_) for 3 .. 255; \$default = pack(q(x32)); syscall(13, \$_, \$default, 0, 8) for 1 .. 64; exec @ARGV" \
    /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LANG=C.UTF-8 \
    /bin/bash -c "$script" </dev/null'
