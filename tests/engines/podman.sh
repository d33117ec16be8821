# Cases for podman with conmon: `run` is `podman run --rm --network none`.

### run
run busybox echo hi

### exit-code
run busybox sh -c 'exit 7'

### stdin
printf 'a\nb\n' | run -i busybox wc -l

### terminal
on_terminal "podman $global run --rm --network none -it busybox sh -c 'tty; echo over; read it'"

### not-found
run busybox /no/such 2>/dev/null; echo $?

### not-executable
run busybox /etc/passwd 2>/dev/null; echo $?

### detached
id=$(podman run -d --network none busybox sh -c 'trap "echo term; exit 3" TERM; echo started; while :; do sleep 0.1; done')
started() { podman logs $id | grep -q started; }
await started; podman stop -t 60 $id >/dev/null; podman inspect -f '{{.State.ExitCode}}' $id; podman logs $id; podman rm $id >/dev/null

### exec
podman run -d --name ex --network none busybox sleep 1000 >/dev/null
podman exec ex sh -c 'echo in; exit 5'; echo $?
podman exec -u 1000 -w /tmp -e A=b ex sh -c 'id -u; pwd; echo $A'
podman exec ex /no/such >/dev/null 2>&1; echo $?
on_terminal "podman $global exec -it ex sh -c 'tty; echo over; read it'"
podman rm -f -t 0 ex >/dev/null

### top
podman run -d --name tp --network none busybox sh -c 'echo started-here; sleep 1000; true' >/dev/null
seen() { podman top tp | grep -q started-here; }
await seen; podman top tp | grep -c started-here
podman rm -f -t 0 tp >/dev/null

### stats
podman run -d --name ss --network none busybox sleep 1000 >/dev/null
podman stats --no-stream --format '{{.MemUsage}}' ss | grep -cE '^[1-9][0-9.]*[kM]B'
podman rm -f -t 0 ss >/dev/null

### pause
podman run -d --name pa --network none busybox sleep 1000 >/dev/null
podman pause pa >/dev/null; podman inspect -f '{{.State.Status}}' pa
podman unpause pa >/dev/null; podman inspect -f '{{.State.Status}}' pa
podman rm -f -t 0 pa >/dev/null

### update
podman run -d --name up --network none busybox sleep 1000 >/dev/null
podman update --memory 64m --cpus .5 up >/dev/null; echo $?
podman rm -f -t 0 up >/dev/null

### files-in-and-out
podman run -d --name cp --network none busybox sleep 1000 >/dev/null
echo v >p-in; podman cp p-in cp:/tmp/cpf; podman exec cp cat /tmp/cpf
podman exec cp sh -c 'echo w >/w'; podman cp cp:/w - | tar -xO; podman diff cp | grep -v /run | sort
podman rm -f -t 0 cp >/dev/null

### a-known-file-is-copied-over
podman run -d --name over --network none busybox sh -c 'echo old >/f; mkdir /d; echo old >/d/f; sleep 1000' >/dev/null
until podman exec over test -s /d/f; do sleep 0.1; done
podman exec over sh -c 'cat /f /d/f; ls -l /f /d | wc -l'
echo newer >f; mkdir -p d; echo newer >d/f; echo second >d/g
podman cp f over:/f; podman exec over sh -c 'cat /f; stat -c %s /f'
podman cp d/. over:/d; podman exec over sh -c 'cat /d/f /d/g; ls /d'
podman exec over sh -c 'echo mine >>/f; cat /f'; podman cp over:/f - | tar -xO
podman diff over | grep -v /run | sort
podman rm -f -t 0 over >/dev/null

### start-again-and-kill
podman create --name again --network none busybox sh -c 'echo run; sleep 100' >/dev/null
podman start again; podman kill again; podman wait again; podman start again; podman rm -f -t 0 again >/dev/null; echo $?

### volumes
mkdir -p pv; echo v >pv/f
run -v "$LAB/pv:/v:ro" busybox sh -c 'exec 2>&1; cat /v/f; touch /v/g'
run -v "$LAB/pv:/v" busybox sh -c 'cat /v/f >/v/g'; cat pv/g

### user-namespace
run --uidmap 0:100000:65536 --gidmap 0:100000:65536 busybox sh -c 'cat /proc/self/uid_map | tr -s " "; id -u'

### privileged
run --privileged busybox true

### healthcheck
podman run -d --name he --network none --health-cmd 'test -f /etc/passwd' --health-interval disable busybox sleep 100 >/dev/null
podman healthcheck run he; echo $?
podman rm -f -t 0 he >/dev/null

### pod
podman pod create --name pq --network none --infra-image localhost/busybox --infra-command '/bin/sleep 1000' --share ipc,uts >/dev/null
podman run --rm --pod pq busybox echo in the pod
podman run --rm --pod pq busybox hostname
podman pod rm -f -t 0 pq >/dev/null

### build
mkdir -p pb; printf 'FROM busybox\nRUN echo built >/b\nCMD cat /b\n' >pb/Dockerfile
podman build -q --no-cache --network none --isolation oci -t pb1 pb >/dev/null; echo $?
run pb1

### hooks
mkdir hooks-$$; global="$global --hooks-dir $LAB/hooks-$$"
hook() { # STAGE LINE
    printf '{"version": "1.0.0", "hook": {"path": "/bin/sh", "args": ["sh", "-c", "%s"]}, "when": {"always": true}, "stages": ["%s"]}' "$2" "$1" >hooks-$$/$1.json
}
note="(grep -o '.status.:.[a-z]*'; basename \$(pwd)) >>$LAB/hooks-$$/seen"
hook prestart "$note"; hook createRuntime "$note"; hook createContainer "$note"
run busybox echo ran; cat hooks-$$/seen; rm hooks-$$/*
hook prestart "cat >/dev/null; exit 5"
run --name never busybox echo never 2>&1 | grep -o 'error running hook #0: error running hook: exit status 5'
podman ps -aq --filter name=never | wc -l
