# Cases for --systemd-cgroup, with systemd on a host of either sort: `on hybrid SCRIPT`, `on unified SCRIPT`, or both. Where there is no version 1, a hybrid does nothing. `start ID CGROUPS-PATH RESOURCES ANNOTATIONS COMMAND` runs a container detached.

### scope
both '
start sc a-b.slice:pre:sc {} {} "sleep 1000"; echo $?
show pre-sc.scope "Slice ControlGroup Delegate ActiveState CPUAccounting MemoryAccounting TasksAccounting DefaultDependencies"
pid=$(runtime state sc | grep -o "\"pid\": [0-9]*" | cut -d" " -f2)
grep "/a.slice/a-b.slice/pre-sc.scope$" /proc/$pid/cgroup | cut -d: -f2 | grep -v devices | sort
cat $(dirname $(find /sys/fs/cgroup -path "*/a-b.slice/pre-sc.scope/cgroup.procs" | head -1))/cgroup.procs | grep -cx $pid
runtime kill sc KILL; for i in $(seq 600); do runtime delete sc 2>/dev/null && break; sleep 0.1; done
shown pre-sc.scope'

### no-path
both '
start np "" {} {} "sleep 1000"; show run*c-np.scope "Slice ActiveState"; runtime delete --force np; echo $?'

### paths-that-are-none
both '
for path in /a/b a:b:c:d b:c; do start pn $path {} {} true | grep -o "expected cgroupsPath to be of format"; done
for path in a:b:c a--b.slice:b:c a/b.slice:b:c; do start pn $path {} {} true | grep -o "invalid slice name: [^\" ]*"; done
shown "*-c.scope"'

### limits
on hybrid '
start li :p:li "{\"memory\": {\"limit\": 67108864}, \"cpu\": {\"shares\": 512, \"quota\": 33333, \"period\": 100000, \"cpus\": \"0\"}, \"pids\": {\"limit\": 50}}" {} "sleep 1000"; echo $?
show p-li.scope "MemoryLimit CPUShares CPUQuotaPerSecUSec CPUQuotaPeriodUSec TasksMax"
files() { for file in memory/memory.limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_quota_us cpuset/cpuset.cpus pids/pids.max; do cat /sys/fs/cgroup/*/system.slice/p-li.scope/${file#*/}; done; }
files; runtime update --memory 134217728 --cpu-quota 44444 --pids-limit 60 li; echo $?; files
show p-li.scope "MemoryLimit CPUQuotaPerSecUSec TasksMax"
systemctl daemon-reload; sleep 0.3; files | grep -v 4444
runtime delete --force li; shown p-li.scope'

### limits-that-cannot-be-had
both '
start lc :p:lc "{\"cpu\": {\"cpus\": \"700\"}}" {} "sleep 1000" >/dev/null; echo $?; shown p-lc.scope; runtime state lc >/dev/null 2>&1; echo $?'

### annotations
both '
start an :p:an {} "{\"org.systemd.property.TimeoutStopSec\": \"123\", \"org.systemd.property.CollectMode\": \"'"'inactive-or-failed'"'\", \"org.systemd.property.Before\": \"['"'x.target'"']\", \"other\": \"?\"}" "sleep 1000"; echo $?
show p-an.scope "TimeoutStopUSec CollectMode Before"
runtime delete --force an
for bad in "{\"org.systemd.property.Abc\": \"?\"}" "{\"org.systemd.property.A_b\": \"1\"}"; do start an :p:an {} "$bad" true | grep -o "org.systemd.property.A[a-z_]*" | head -1; done
start an :p:an {} "{\"org.systemd.property.NoSuch\": \"1\"}" true | grep -oi "cannot set property NoSuch, or unknown property" | head -1
shown p-an.scope'

### a-name-that-is-taken
both '
start t1 :p:tt {} "{\"org.systemd.property.TimeoutStopSec\": \"1\"}" "sleep 1000"; start t2 :p:tt {} {} "sleep 1000" >/dev/null; echo $?; runtime delete --force t2 2>/dev/null
runtime list -q; show p-tt.scope ActiveState; runtime delete --force t1; shown p-tt.scope'

### a-unit-that-is-anothers
both '
systemd-run --quiet --scope --unit=p-tk.scope sleep 1000 & for i in $(seq 600); do systemctl is-active --quiet p-tk.scope && break; sleep 0.1; done
start tk :p:tk {} {} "sleep 1000" >/dev/null; echo $?; runtime delete --force tk 2>/dev/null
show p-tk.scope "ActiveState Description"; systemctl stop p-tk.scope; shown p-tk.scope'

### exec
both '
start ex :p:ex {} {} "sleep 1000"
runtime exec -d --pid-file $PWD/ex.pid ex sleep 500; grep /system.slice/p-ex.scope$ /proc/$(cat ex.pid)/cgroup | cut -d: -f2 | grep -v devices | sort
runtime exec ex sh -c "exit 3"; echo $?
runtime delete --force ex; shown p-ex.scope; test -e /proc/$(cat ex.pid) || echo gone'

### end-by-itself
both '
start en :p:en {} {} true; for i in $(seq 600); do systemctl is-active --quiet p-en.scope || break; sleep 0.1; done
runtime delete en; echo $?; shown p-en.scope'

### foreground
both '
bundle fo :p:fo {} {} "cat /dev/null; exit 7"; runtime run -b fo fo </dev/null; echo $?; shown p-fo.scope'

### pause
both '
start pa :p:pa {} {} "sleep 1000"; runtime pause pa; runtime list | grep -o paused; runtime resume pa; runtime delete --force pa; shown p-pa.scope'

### stop-of-the-unit
both '
rm -f $LAB/root/tmp/st; start st :p:st {} {} "trap exit TERM; >/tmp/st; while :; do sleep 0.1; done"
for i in $(seq 200); do [ -e $LAB/root/tmp/st ] && break; sleep 0.1; done; systemctl stop p-st.scope; shown p-st.scope
for i in $(seq 600); do runtime state st | grep -q stopped && break; sleep 0.1; done; runtime state st | grep -o stopped; runtime delete st; echo $?'

### no-bus
both '
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/no/bus
start nb :p:nb {} {} "sleep 1000"; show p-nb.scope ActiveState; runtime delete --force nb; shown p-nb.scope'

### no-systemd
start no :p:no {} {} true | grep -o "systemd not running on this host, cannot use systemd cgroups manager"
runtime state no >/dev/null 2>&1; echo $?

### docker
both '
export DOCKER_HOST=unix:///run/docker.sock
printf "{\"runtimes\": {\"ours\": {\"path\": \"%s\"}}, \"default-runtime\": \"ours\"}" $RUNTIME >daemon.json
dockerd --config-file $PWD/daemon.json --data-root $PWD/data --exec-root /run/docker-exec --pidfile /run/docker.pid --iptables=false --ip6tables=false --bridge=none --exec-opt native.cgroupdriver=systemd -H $DOCKER_HOST >docker.log 2>&1 &
for i in $(seq 240); do docker version >/dev/null 2>&1 && break; sleep 0.5; done
docker info -f "{{.CgroupDriver}} {{.CgroupVersion}}" 2>/dev/null
tar -C $LAB/root -c . | docker import - busybox >/dev/null
docker run --rm --network none busybox sh -c "echo hi; exit 3"; echo $?
[ -e /sys/fs/cgroup/memory ] && limits="--memory 64m --cpus 0.5 --pids-limit 50"
docker run -d --name one --network none $limits busybox sleep 1000 >/dev/null
id=$(docker inspect -f "{{.Id}}" one); show docker-$id.scope "Slice ActiveState Delegate MemoryLimit CPUQuotaPerSecUSec"
docker exec one sh -c "exit 4"; echo $?
docker pause one; docker inspect -f "{{.State.Status}}" one; docker unpause one
docker stop -t 1 one; docker start one; docker rm -f one; shown "docker-*.scope"'

### an-ordinary-users
cat >manager <<'END'
mkdir -p $XDG_RUNTIME_DIR home; chown daemon $XDG_RUNTIME_DIR home
systemd-run --quiet --unit=user.service -p DefaultDependencies=no -p Delegate=yes -p User=daemon -E HOME=$LAB -E XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR \
    -E SYSTEMD_UNIT_PATH=$LAB/session:$XDG_RUNTIME_DIR/systemd/transient /lib/systemd/systemd --user --unit=lab.target
cd home; HOME=$PWD setpriv --reuid daemon --regid daemon --clear-groups bash $LAB/user
systemctl kill --signal=KILL user.service
END
cat >user <<'END'
for i in $(seq 600); do busctl --user status org.freedesktop.systemd1 >/dev/null 2>&1 && break; sleep 0.1; done
runtime() { "$RUNTIME" --root $XDG_RUNTIME_DIR/state --systemd-cgroup "$@"; }
cp -r $LAB/root .; LAB=$PWD; bundle us :p:us {} {} "sleep 1000"
map='[{"containerID": 0, "hostID": '$(id -u)', "size": 1}]'
sed -i 's/"namespaces": \[/"uidMappings": '"$map"', "gidMappings": '"$map"', &{"type": "user"}, /' us/config.json
runtime run -d -b us us </dev/null >out 2>&1; echo $?; cat out
systemctl --user show p-us.scope -p Slice -p ControlGroup -p ActiveState
runtime delete --force us; systemctl --user list-units --all --no-legend --plain | grep -c p-us
END
on unified 'export XDG_RUNTIME_DIR=/run/user/daemon; bash $LAB/manager; shown p-us.scope'
