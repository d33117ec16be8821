# Cases for Kubernetes' interface to containerd: `cri COMMAND …` is one call of it (`src/bin/cri.rs`). `gone POD` stops and removes.

### version
cri version

### pod
cri run-pod p-pod
cri pod-status p-pod; cri pods p-pod
cri stop-pod p-pod; cri pod-status p-pod
cri remove-pod p-pod; cri pods p-pod

### run-to-the-end
cri run-pod p-run
cri create p-run run --env A=b --cwd /tmp -- sh -c 'echo $A $PWD; echo err >&2; exit 4'
cri status run; cri start run; until_exited run; cri status run
cri log run | cut -d' ' -f2- | sort
cri remove run; cri containers p-run
gone p-run

### log-of-much
cri run-pod p-log
cri create p-log log -- sh -c 'seq 2000; head -c 20000 /dev/zero | tr "\0" x; echo end'
cri start log; logged() { cri log log | grep -q end$; }; await logged
# Where lines that are too long are broken is a matter of when they came.
cri log log | cut -d' ' -f2,4- | awk '{printf "%s", $2; if ($1 != "stdout") print $1}' | sha256sum
gone p-log

### stop
cri run-pod p-stop
cri create p-stop stop -- sh -c 'trap "echo term; exit 3" TERM; echo up; while :; do sleep 0.1; done'
cri start stop; cri status stop; up() { cri log stop | grep -q up; }; await up
cri stop stop 60; cri status stop; cri log stop | cut -d' ' -f4-
cri create p-stop deaf -- sh -c 'trap "" TERM; while :; do sleep 0.1; done'
cri start deaf; cri stop deaf 1; cri status deaf
cri stop deaf 1; echo $?
gone p-stop; cri containers p-stop

### exec
cri run-pod p-exec
cri create p-exec exec --env A=b -- sleep 1000
cri start exec
cri exec exec -- sh -c 'echo $A; echo err >&2; exit 6' 2>err; echo $?; cat err
cri exec exec --timeout 1 -- sleep 20 2>&1 | grep -o 'timeout .* exceeded'
cri exec exec -- /no/such 2>&1 | grep -o 'no such file or directory' | head -1
cri exec exec -- nosuch 2>&1 | grep -o 'executable file not found in $PATH' | head -1
cri exec exec --timeout 20 -- sh -c 'sleep 0.2; echo slept'
cri exec exec -- sh -c 'yes | head -c 300000' | sha256sum
gone p-exec

### user-and-read-only-root
cri run-pod p-user
cri create p-user user --user 1000 --read-only -- sh -c 'exec 2>&1; id -u; touch /x'
cri start user; until_exited user; cri log user | cut -d' ' -f4-; cri status user
gone p-user

### volume
mkdir -p vol; echo v >vol/f
cri run-pod p-vol
cri create p-vol one --volume "$LAB/vol:/v:ro" -- sh -c 'exec 2>&1; cat /v/f; touch /v/g'
cri create p-vol two --volume "$LAB/vol:/v" -- sh -c 'echo w >/v/g'
for it in one two; do cri start $it; until_exited $it; cri status $it; done
cri log one | cut -d' ' -f4-; cat vol/g
gone p-vol

### terminal
cri run-pod p-tty
cri create p-tty tty --tty --volume "$LAB/logs:/l" -- sh -c 'tty; test -t 0 && echo terminal; until [ -e /l/seen ]; do sleep 0.1; done'
cri start tty; logged() { cri log tty | grep -q terminal; }; await logged; touch logs/seen; until_exited tty; cri log tty | cut -d' ' -f4- | tr -d '\r'
gone p-tty

### stats
cri run-pod p-stats
cri create p-stats stats --memory 268435456 -- sh -c 'while :; do :; done'
cri start stats; sleep 0.5
cri stats stats | grep -c 'cpu [1-9][0-9]* ns, memory [1-9][0-9]* bytes'
cri pod-stats p-stats | sed 's/ [1-9][0-9]* / N /g; s/processes [1-9].*/processes N/'
gone p-stats

### update
cri run-pod p-up
cri create p-up up --memory 268435456 --cpu-quota 100000 -- sleep 1000
cri start up; cri update up --memory 134217728 --cpu-shares 512; echo $?
find /sys/fs/cgroup -path "*$(basename "$LAB")*" -name memory.limit_in_bytes -o -path "*$(basename "$LAB")*" -name memory.max | xargs cat | grep 134217728
gone p-up

### out-of-memory
cri run-pod p-oom
# The engine sometimes hears of the end before it hears of why, with any runtime.
for i in 1 2 3 4 5 6; do
  cri create p-oom oom --memory 16777216 -- sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null'
  cri start oom; until_exited oom; sleep 0.3; cri status oom | tee was | grep -q OOMKilled && break
  cri remove oom
done
cat was
gone p-oom

### not-found
cri run-pod p-none
cri create p-none none -- /no/such
cri start none 2>&1 | grep -o 'no such file or directory' | head -1
cri status none | head -1
cri remove none; gone p-none

### two-containers
cri run-pod p-two --hostname shared
cri create p-two first --volume "$LAB/logs:/l" -- sh -c 'hostname >/l/first; sleep 1000'
cri create p-two second --volume "$LAB/logs:/l" -- sh -c 'until [ -s /l/first ]; do sleep 0.1; done; cat /l/first; hostname; echo $HOSTNAME; exit 2'
cri start first; cri start second; until_exited second
cri status first; cri status second; cri log second | cut -d' ' -f4-
cri containers p-two
cri stop first 0; cri status first
gone p-two; cri containers p-two

### pod-ends-its-containers
cri run-pod p-ends
cri create p-ends ends -- sleep 1000
cri start ends; cri stop-pod p-ends; cri status ends; cri containers p-ends; cri remove-pod p-ends; cri containers p-ends

### host-network
cri run-pod p-host --host-network
cri create p-host host -- sh -c 'ls /sys/class/net'
cri start host; until_exited host; cri log host | cut -d' ' -f4-
gone p-host

### nothing-is-left
cri run-pod p-left
cri create p-left left -- sleep 1000
cri start left; cri exec left -- true; cri ids p-left >ids
find() { command find /sys/fs/cgroup "$LAB/state" -path "*$(basename "$LAB")*" 2>/dev/null | grep -F -f ids; grep -F -f ids /proc/mounts; }
wc -l <ids; find | grep -q . || echo "nothing is found"
gone p-left; for i in $(seq 300); do [ -z "$(find)" ] && break; sleep 0.1; done; find
for what in task container; do ctr -a "$LAB/sock" -n k8s.io $what ls -q | grep -F -f ids; done
