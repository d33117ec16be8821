#!/usr/bin/env bash
# docker.sh GUEST ROUNDS NAME=RUNTIME[,FLAG]...: what `docker run --rm` of a static binary costs with each runtime.
#
# GUEST is `bench-guest`. The daemon is Debian's, in namespaces of its own that take with them all it starts. Printed
# are the median of ROUNDS runs, interleaved, and for a container that sleeps the Pss of all processes in its cgroup
# and the CPU time that they use. Needs root, dockerd, docker and containerd.
set -eu
if [ "${1-}" != inside ]; then
  export WORK CGROUP
  WORK=$(mktemp -d /tmp/benchXXXX)
  CGROUP=$(basename "$WORK")
  cleanup() { find /sys/fs/cgroup -depth -path "*/$CGROUP*" -type d -exec rmdir {} + 2>/dev/null || true; rm -rf "$WORK"; }
  trap cleanup EXIT
  unshare --mount --pid --net --ipc --uts --fork --kill-child --mount-proc bash "$0" inside "$@"
  exit
fi
guest=$2 rounds=$3
shift 3
ip link set lo up
# Old crun does not take both versions of cgroups at once.
umount /sys/fs/cgroup/unified 2>/dev/null || true
mount --make-rshared /
cd "$WORK"
names=() runtimes=
for it in "$@"; do
  IFS=, read -r -a words <<<"${it#*=}"
  # The daemon has its own idea of the name runc.
  names+=("with-${it%%=*}")
  flags=$(printf '"%s",' "${words[@]:1}")
  [ ${#words[@]} -gt 1 ] || flags=
  runtimes+="\"with-${it%%=*}\": {\"path\": \"${words[0]}\", \"runtimeArgs\": [${flags%,}]},"
done
echo "{\"runtimes\": {${runtimes%,}}}" >daemon.json
dockerd --config-file daemon.json --data-root "$WORK/data" --exec-root "$WORK/exec" --pidfile "$WORK/pid" --iptables=false \
  --ip6tables=false --bridge=none --cgroup-parent "/$CGROUP" -H "unix://$WORK/sock" >log 2>&1 &
export DOCKER_HOST=unix://$WORK/sock
for _ in $(seq 60); do docker version >/dev/null 2>&1 && break; sleep 0.5; done
docker version >/dev/null || { tail -n 5 log; exit 1; }
mkdir root
cp "$guest" root/bench-guest
tar -C root -c . | docker import - bench >/dev/null

for _ in $(seq "$rounds"); do
  for name in "${names[@]}"; do
    begin=$(date +%s%N)
    docker run --rm --network none --runtime "$name" bench /bench-guest true >/dev/null
    echo $((($(date +%s%N) - begin) / 100000)) >>"$name.times"
  done
done
# The pids of everything in a container's cgroup, whichever controllers have it.
members() { find /sys/fs/cgroup -path "*/$CGROUP/*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -nu; }
ticks() { for pid in $(members); do sed 's/.*) //' "/proc/$pid/stat"; done 2>/dev/null | awk '{n += $12 + $13} END {print n + 0}'; }
printf '%-12s %10s %12s %10s %12s\n' runtime 'run, ms' 'idle, KiB' processes 'CPU, ms/s'
for name in "${names[@]}"; do
  median=$(sort -n "$name.times" | awk '{all[NR] = $1} END {print all[int((NR + 1) / 2)] / 10}')
  docker run -d --name "idle-$name" --network none --runtime "$name" bench /bench-guest sleep >/dev/null
  sleep 1
  before=$(ticks)
  sleep 5
  cpu=$((($(ticks) - before) * 2))
  pss=$(for pid in $(members); do cat "/proc/$pid/smaps_rollup"; done 2>/dev/null | awk '/^Pss:/ {n += $2} END {print n + 0}')
  printf '%-12s %10s %12s %10s %12s\n' "${name#with-}" "$median" "$pss" "$(members | wc -l)" "$cpu"
  docker rm -f "idle-$name" >/dev/null
done
kill "$(cat pid)"
wait
