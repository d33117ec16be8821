# Cases for containerd's ctr with the io.containerd.runc.v2 shim: `run [FLAG…] ROOT ID ARG…` is `ctr run --rm`, `start ID ARG…` runs detached.

### run
run $LAB/root c-run echo hi

### exit-code
run $LAB/root c-exit sh -c 'exit 7'

### terminal
# ctr shows nothing until the end: what comes in the meantime its shim must have read.
script -qec "ctr run --rm --tty --env PATH=/bin --runc-binary $RUNTIME --rootfs $LAB/root c-tty sh -c 'tty; sleep 3'" /dev/null </dev/null | sed 's/\^@//; s/\r//'

### environment
run --env A=b --cwd /tmp $LAB/root c-env sh -c 'echo $A $PWD; env | cut -d= -f1 | sort; cat /proc/self/limits | grep files'

### not-found
flags=(); run $LAB/root c-none /no/such 2>&1 | grep -o 'no such file or directory' | head -1
ctr c rm c-none

### read-only
run --read-only $LAB/root c-ro touch /x 2>&1

### mounts
mkdir -p cv; echo v >cv/f
run --mount type=bind,src=$LAB/cv,dst=/v,options=rbind:ro $LAB/root c-mnt sh -c 'exec 2>&1; cat /v/f; touch /v/g'

### exec
flags=(); start c-exec sleep 1000
ctr task exec --exec-id e1 c-exec sh -c 'echo hi; exit 3'; echo $?
ctr task exec --exec-id e2 --user 1000:1000 --cwd /tmp c-exec sh -c 'id -u; pwd'
ctr task exec --exec-id e3 c-exec /no/such 2>&1 | grep -o 'no such file or directory'
script -qec 'ctr task exec --tty --exec-id e4 c-exec sh -c "tty; sleep 3"' /dev/null </dev/null | sed 's/\^@//; s/\r//'
ctr task rm -f c-exec; ctr c rm c-exec

### exec-is-listed-and-killed
flags=(); start c-ek sleep 1000
ctr task exec -d --exec-id e5 c-ek sleep 500
ctr task ps c-ek | grep -c e5
ctr task kill --exec-id e5 -s KILL c-ek; echo $?
gone() { ! ctr task ps c-ek | grep -q e5; }
await gone; ctr task ps c-ek | grep -c e5
ctr task rm -f c-ek; ctr c rm c-ek

### pause-and-resume
flags=(); start c-pr sleep 1000
ctr task pause c-pr; ctr task ls | grep c-pr | awk '{print $3}'
ctr task resume c-pr; ctr task ls | grep c-pr | awk '{print $3}'
ctr task rm -f c-pr; ctr c rm c-pr

### metrics
flags=(); start c-me sleep 1000
ctr task metrics c-me | grep -cE 'memory.usage_in_bytes +[1-9]'
ctr task rm -f c-me; ctr c rm c-me

### kill
flags=(); start c-ki sleep 1000
ctr task kill -s TERM c-ki; sleep 0.3; ctr task ls | grep c-ki | awk '{print $3}'
stopped() { ctr task ls | grep c-ki | grep -q STOPPED; }
ctr task kill -s KILL -a c-ki; await stopped; ctr task ls | grep c-ki | awk '{print $3}'
ctr task kill -s KILL c-ki 2>&1 | grep -o 'process already finished: not found'
ctr task rm c-ki; ctr c rm c-ki

### memory-limit
run --memory-limit 16777216 $LAB/root c-oom dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null

### shim-is-killed
flags=(); start c-sh sleep 1000
pid=$(ctr task ls | grep c-sh | awk '{print $2}'); shim=$(awk '/^PPid/{print $2}' /proc/$pid/status)
kill -9 $shim; for i in $(seq 600); do kill -0 $pid 2>/dev/null || break; sleep 0.1; done; kill -0 $pid 2>/dev/null; echo $?
ctr task rm -f c-sh 2>/dev/null; ctr c rm c-sh 2>/dev/null; true
