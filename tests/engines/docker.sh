# Cases for docker: `run` is `docker run --rm --network none`. What counts is standard output and the exit code.

### run
run busybox echo hi

### exit-code
run busybox sh -c 'exit 7'

### init-cannot-be-killed-from-inside
run busybox sh -c 'kill -9 $$; exit 3'

### killed-by-a-signal
run --init busybox sh -c 'kill -9 $$'

### stdin
printf 'a\nb\n' | run -i busybox wc -l

### stdout-and-stderr-are-apart
run busybox sh -c 'echo out; echo err >&2' 2>/dev/null
run busybox sh -c 'echo out; echo err >&2' 2>&1 >/dev/null

### much-output
run busybox sh -c 'yes | head -c 3000000' | sha256sum

### terminal
on_terminal "docker run --rm --network none -it busybox sh -c 'tty; stty size; test -c /dev/console && echo console; echo over; read it'"

### not-found
run busybox /no/such 2>/dev/null; echo $?
run busybox nosuch 2>&1 | grep -o 'executable file not found in $PATH'

### not-executable
run busybox /etc/passwd 2>&1 | grep -oi 'permission denied'
run busybox /etc/passwd 2>/dev/null; echo $?

### env-user-cwd
run -e A=b -u 1000 -w /tmp busybox sh -c 'echo $(id -u):$(id -g):$PWD:$A'
run -u user busybox id
run -u 1000:7 --group-add 9 busybox id -G

### made-working-directory
run -w /made/here busybox sh -c 'pwd; ls -ld /made | cut -c1-10'

### hostname
run -h hh --domainname dd busybox sh -c 'hostname; cat /etc/hostname'
run --uts host busybox hostname | grep -cx "$(hostname)"

### init
run --init busybox head -1 /proc/1/comm

### capabilities
run busybox grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status
run --cap-drop ALL busybox grep CapEff /proc/self/status
run --cap-drop ALL --cap-add NET_ADMIN -u 1000 busybox grep -E 'Cap(Prm|Bnd)' /proc/self/status

### no-new-privileges
run --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status

### seccomp-profile
cat >"$LAB/profile.json" <<'JSON'
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}
JSON
run --security-opt seccomp="$LAB/profile.json" busybox mkdir /x 2>&1
run --security-opt seccomp=unconfined busybox sh -c 'mkdir /x && grep Seccomp: /proc/self/status'
run busybox grep Seccomp: /proc/self/status

### devices
run busybox sh -c 'ls /dev | sort; for d in null zero full random urandom tty; do stat -c "%n %t:%T %A" /dev/$d; done'

### mounts-of-the-image
run busybox sh -c 'cut -d" " -f5 /proc/self/mountinfo | sort -u | grep -v ^/proc/'

### masked-and-read-only-paths
run busybox sh -c 'exec 2>&1; ls /proc/acpi /sys/firmware; wc -c </proc/kcore; echo x >/proc/sys/kernel/hostname'

### network-none
run busybox sh -c 'ls /sys/class/net; cat /proc/net/dev | wc -l'

### volumes
mkdir -p vol-$$; echo v >vol-$$/f
run -v "$LAB/vol-$$:/v:ro" busybox sh -c 'exec 2>&1; cat /v/f; touch /v/g'
run -v "$LAB/vol-$$:/v" busybox sh -c 'cat /v/f >/v/g; mkdir /v/d; ln -s f /v/l'
ls -l vol-$$ | awk '{print $1, $3, $9, $10, $11}'

### file-volume
echo one >file-$$
run -v "$LAB/file-$$:/etc/one:ro" busybox cat /etc/one

### named-volume
run -v nv:/n busybox sh -c 'echo y >/n/y'
run -v nv:/n busybox cat /n/y
docker volume rm nv

### tmpfs-and-read-only-root
run --tmpfs /t:size=64k --read-only busybox sh -c 'exec 2>&1; touch /t/x && echo made; touch /x; df -k /t | tail -1 | awk "{print \$2}"; head -c 100000 /dev/zero >/t/big'

### shm-size
run --shm-size 1m busybox sh -c 'df -k /dev/shm | tail -1 | awk "{print \$2}"'

### ulimit
run --ulimit nofile=100:200 busybox sh -c 'ulimit -n; ulimit -Hn'

### sysctl
run --sysctl kernel.shmmax=123456 busybox cat /proc/sys/kernel/shmmax

### pids-limit
run --pids-limit 20 busybox sh -c 'for i in $(seq 30); do sleep 100 & done 2>/dev/null; wait' 2>&1 | grep -o "can't fork" | head -1
run --pids-limit 3 busybox echo small

### out-of-memory
# docker sometimes hears of the end before it hears of why, with any runtime.
for i in 1 2 3 4 5 6; do
  docker run --name oom-$i --network none --memory 16m --memory-swap 16m busybox dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; code=$?
  killed=$(docker inspect -f '{{.State.OOMKilled}}' oom-$i); docker rm oom-$i >/dev/null
  [ $killed = true ] && break
done
echo $code $killed

### limits-are-seen
run --memory 64m --cpus 1 busybox true && echo ok

### detached
id=$(docker run -d --network none busybox sh -c 'trap "echo term; exit 3" TERM; echo started; while :; do sleep 0.1; done')
started() { docker logs $id | grep -q started; }
await started; docker stop -t 60 $id >/dev/null
docker inspect -f '{{.State.ExitCode}} {{.State.Status}}' $id
docker logs $id
docker rm $id >/dev/null

### start-again-and-restart
docker create --name again --network none busybox sh -c 'echo run; sleep 100' >/dev/null
said() { [ $(docker logs again | wc -l) = $1 ]; }
docker start again; await said 1; docker restart -t 0 again
await said 2; docker kill again; docker wait again
docker logs again; docker rm again

### term-is-ignored-by-init
docker run -d --name deaf --network none busybox sleep 1000 >/dev/null
docker kill -s TERM deaf
sleep 0.3; docker inspect -f '{{.State.Running}}' deaf
docker rm -f deaf

### exec
docker run -d --name ex --network none busybox sleep 1000 >/dev/null
docker exec ex sh -c 'echo in; exit 5'; echo $?
docker exec -u 1000 -w /tmp -e A=b ex sh -c 'id -u; pwd; echo $A'
echo x | docker exec -i ex cat
docker exec ex /no/such >/dev/null 2>&1; echo $?
docker exec ex nosuch 2>&1 | grep -o 'executable file not found in $PATH'
docker exec ex sh -c 'kill -9 $$'; echo $?
docker exec -d ex sh -c 'echo d >/detached'
await docker exec ex test -s /detached; docker exec ex cat /detached
on_terminal "docker exec -it ex sh -c 'tty; echo over; read it'"
docker rm -f ex

### exec-while-created-and-stopped
docker create --name st --network none busybox true >/dev/null
docker exec st true 2>/dev/null; echo $?
docker rm st

### many-execs-at-once
docker run -d --name me --network none busybox sleep 1000 >/dev/null
for i in $(seq 8); do docker exec me sh -c "echo $i; exit $i" & done | sort
wait
docker rm -f me

### top
docker run -d --name tp --network none busybox sh -c 'echo started-here; sleep 1000; true' >/dev/null
seen() { docker top tp | grep -q started-here; }
await seen; docker top tp | grep -c started-here
docker rm -f tp

### stats
docker run -d --name ss --network none busybox sleep 1000 >/dev/null
docker stats --no-stream --format '{{.MemUsage}}' ss | grep -cE '^[1-9][0-9.]*[KM]iB'
docker rm -f ss

### pause
docker run -d --name pa --network none busybox sh -c 'i=0; while :; do i=$((i+1)); echo $i >/now; sleep 0.05; done' >/dev/null
await docker exec pa test -s /now; docker pause pa; docker inspect -f '{{.State.Status}}' pa
docker exec pa true 2>/dev/null; echo $?
docker cp pa:/now - | tar -xO >first; sleep 0.3; docker cp pa:/now - | tar -xO | cmp - first && echo frozen
docker unpause pa
changed() { ! docker exec pa cat /now | cmp -s - first; }
await changed && echo thawed
docker rm -f pa

### kill-while-paused
docker run -d --name kp --network none busybox sleep 1000 >/dev/null
docker pause kp; docker rm -f kp

### update
docker run -d --name up --network none --memory 128m --memory-swap 128m busybox sleep 1000 >/dev/null
docker update --memory 64m --memory-swap 64m --cpus .5 --pids-limit 50 up
docker inspect -f '{{.HostConfig.Memory}}' up
docker rm -f up

### files-in-and-out
docker run -d --name cp --network none busybox sleep 1000 >/dev/null
echo v >cp-in; docker cp cp-in cp:/tmp/cpf; docker exec cp cat /tmp/cpf
docker exec cp sh -c 'echo w >/w; chmod 640 /w; chown 1000 /w'
docker cp cp:/w - | tar -tv | awk '{print $1, $2, $3}'
docker diff cp | sort
docker commit cp cpimg | cut -c1-7
docker run --rm --network none cpimg sh -c 'cat /w; stat -c "%a %u" /w'
docker rm -f cp; docker rmi -f cpimg >/dev/null

### a-known-file-is-copied-over
docker run -d --name over --network none busybox sh -c 'echo old >/f; mkdir /d; echo old >/d/f; sleep 1000' >/dev/null
until docker exec over test -s /d/f; do sleep 0.1; done
docker exec over sh -c 'cat /f /d/f; ls -l /f /d | wc -l'
echo newer >f; mkdir -p d; echo newer >d/f; echo second >d/g
docker cp f over:/f; docker exec over sh -c 'cat /f; stat -c %s /f'
docker cp d/. over:/d; docker exec over sh -c 'cat /d/f /d/g; ls /d'
docker exec over sh -c 'echo mine >>/f; cat /f'; docker cp over:/f - | tar -xO
docker exec over rm /d/g; docker cp over:/d - | tar -t | sort
docker cp f over:/d/g; docker exec over cat /d/g
docker diff over | sort
docker rm -f over

### a-watcher-sees-what-is-copied
docker run -d --name watch --network none busybox sh -c 'echo old >/f; while :; do grep -q newer /f && break; sleep 0.05; done; stat -c %s /f; cat /f' >/dev/null
await docker exec watch test -s /f; echo much newer >f2; docker cp f2 watch:/f; until_ends watch && docker logs watch; docker rm -f watch

### a-volume-is-edited
mkdir -p conf-$$; echo one >conf-$$/c
docker run -d --name reload --network none -v "$LAB/conf-$$:/c" busybox sh -c 'o=; while :; do n=$(cat /c/c 2>/dev/null); [ -z "$n" -o "$n" = "$o" ] || { o=$n; echo "$n" "$(stat -c %s /c/c)"; }; [ "$n" = three ] && break; sleep 0.02; done' >/dev/null
seen() { for i in $(seq 600); do docker logs reload | grep -q "$1" && return; sleep 0.05; done; return 1; }
seen one; echo two >conf-$$/c; seen two; echo three >conf-$$/.new; mv conf-$$/.new conf-$$/c; seen three
until_ends reload; docker logs reload; docker rm -f reload

### a-program-is-replaced
docker run -d --name prog --network none busybox sh -c 'printf "#!/bin/sh\necho old\n" >/p; chmod +x /p; while :; do sleep 1; done' >/dev/null
until docker exec prog test -x /p; do sleep 0.1; done
docker exec prog /p; printf '#!/bin/sh\necho new\n' >p; chmod 700 p; docker cp p prog:/p; docker exec prog /p
docker exec prog sh -c 'cp /bin/busybox /tmp/b; /tmp/b echo copy'
docker rm -f prog

### build-over-files-of-the-image
mkdir -p bo; echo new >bo/f; printf 'FROM busybox\nRUN echo old >/f; cat /f\nCOPY f /f\nRUN cat /f; echo more >>/f; rm /etc/group\nCOPY f /etc/group\nCMD cat /f /etc/group\n' >bo/Dockerfile
DOCKER_BUILDKIT=0 docker build --network none --no-cache -q -t bo bo | cut -c1-7
run bo; docker rmi -f bo >/dev/null

### healthcheck
docker run -d --name he --network none --health-cmd 'test -f /ok' --health-interval 0.5s --health-retries 1 busybox sh -c 'touch /ok; sleep 100' >/dev/null
healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' he)" = healthy ]; }
await healthy; docker inspect -f '{{.State.Health.Status}}' he
docker rm -f he

### restart-policy
docker run -d --name rp --network none --restart on-failure:2 busybox sh -c 'exit 9' >/dev/null
over() { [ "$(docker inspect -f '{{.RestartCount}} {{.State.Status}}' rp)" = '2 exited' ]; }
await over; docker inspect -f '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}' rp
docker rm rp

### build
mkdir -p bld; printf 'FROM busybox\nRUN echo built >/b && mkdir /d && chown 1000:7 /d\nWORKDIR /d\nUSER user\nRUN touch mine\nCMD ["cat", "/b"]\n' >bld/Dockerfile
DOCKER_BUILDKIT=0 docker build --network none --no-cache -q -t b1 bld | cut -c1-7
run b1; run b1 sh -c 'stat -c "%u %n" /d/mine; pwd'
docker rmi -f b1 >/dev/null

### two-containers-and-a-volume
docker volume create shared >/dev/null
docker run -d --name writer --network none -v shared:/s busybox sh -c 'i=0; while :; do i=$((i+1)); echo $i >/s/n.new; mv /s/n.new /s/n; sleep 0.05; done' >/dev/null
docker run --rm --network none -v shared:/s busybox sh -c 'while [ ! -e /s/n ]; do sleep 0.05; done; a=$(cat /s/n); until [ $(cat /s/n) -gt $a ]; do sleep 0.05; done; echo grows'
docker rm -f writer; docker volume rm shared

### inspect-pid
docker run -d --name ip --network none busybox sleep 1000 >/dev/null
pid=$(docker inspect -f '{{.State.Pid}}' ip); kill -0 $pid && echo there
kill -9 $pid; until_ends ip; docker inspect -f '{{.State.ExitCode}}' ip
docker rm ip

### remove-force
docker run -d --name rf --network none busybox sleep 1000 >/dev/null; docker rm -f rf; docker ps -aq --filter name=rf | wc -l

### cycles-leave-nothing
# LEFTOVERS=full has 200. Other cases may run meanwhile, so what is left is found by its names.
left() {
  for it in /proc/[0-9]*/cmdline; do tr '\0' ' ' <$it; echo; done 2>/dev/null | grep -v ^grep | grep -F -f names
  grep -F -f names /proc/mounts
  find "$LAB/exec" /sys/fs/cgroup -path "*$(basename "$LAB")*" 2>/dev/null | grep -F -f names
}
n=4; [ "$LEFTOVERS" = full ] && n=200
files=$(ls /proc/$(cat pid)/fd | wc -l); >names
for i in $(seq $n); do
  docker create --name cy-$i --network none busybox sh -c 'echo up; sleep 1000' >>names && docker start cy-$i >/dev/null || echo "start $i"
  docker inspect -f '{{.GraphDriver.Data.MergedDir}}' cy-$i >>names
  [ $i = 1 ] && { left | grep -q . || echo "nothing is found"; }
  docker exec cy-$i sh -c 'echo in; exit 7' >said; [ "$? $(cat said)" = "7 in" ] || echo "exec $i"
  if [ $((i % 2)) = 0 ]; then docker kill cy-$i >/dev/null || echo "kill $i"; fi
  docker rm -f cy-$i >/dev/null || echo "rm $i"
done
for i in $(seq 300); do [ -z "$(left)" ] && break; sleep 0.1; done
left
[ "$(ls /proc/$(cat pid)/fd | wc -l)" -le $((files + 40)) ] || echo "files are left open"
