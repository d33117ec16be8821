// SPDX-License-Identifier: Apache-2.0
//! Container engines drive us as they drive runc: each script must do the same with either runtime.
//!
//! Scripts are in `tests/engines/<engine>.sh`; what an engine needs before them, and what stands before
//! each, is here. Named differences, each with a reason, are in `tests/engines/expect.toml`; one that has
//! gone fails the run. Needs root and Debian's `docker.io`, `containerd`, `podman`, `runc` and
//! `busybox-static`; engines that are not installed are named and left out, except in CI.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
};

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use tests::{
    lab::Lab,
    script::{self, Case, Expected},
};

/// A container engine.
struct Engine {
    name: &'static str,
    /// Programs that must be there.
    needs: &'static [&'static str],
    /// Starts it, in the lab's directory.
    setup: &'static str,
    /// What each script begins with.
    prelude: &'static str,
}

/// Words of every script. `await COMMAND…` repeats it until it does well. `on_terminal COMMAND` shows what it
/// prints on a terminal up to the line `over`, and only then gives it a line to read: what has not been copied
/// from a terminal when its last program ends may be lost, with any runtime.
const WORDS: &str = r#"
await() { for i in $(seq 600); do "$@" && return; sleep 0.1; done; return 1; }
on_terminal() {
    local line
    coproc script -qec "$1" /dev/null
    local pid=$COPROC_PID
    while read -r line <&"${COPROC[0]}"; do
        line=${line%$'\r'}
        [ "$line" = over ] && { echo >&"${COPROC[1]}"; break; }
        echo "$line"
    done
    wait $pid
}"#;

/// A root file system of busybox, in `root`.
const ROOT: &str = r#"
set -e
mkdir -p root/bin root/dev root/etc root/home root/proc root/root root/run root/sys root/tmp root/var
chmod 1777 root/tmp
cp "$(command -v busybox)" root/bin/busybox
for name in $(busybox --list); do [ $name = busybox ] || ln -sf busybox root/bin/$name; done
printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n' >root/etc/passwd
printf 'root:x:0:\nuser:x:1000:\n' >root/etc/group
"#;

const ENGINES: [Engine; 5] = [
    Engine {
        name: "docker",
        needs: &["dockerd", "docker", "containerd", "busybox", "runc"],
        setup: r#"
            printf '{"runtimes": {"ours": {"path": "%s"}}, "default-runtime": "ours"}' "$RUNTIME" >daemon.json
            dockerd --config-file daemon.json --data-root "$PWD/data" --exec-root "$PWD/exec" --pidfile pid \
                --iptables=false --ip6tables=false --bridge=none --cgroup-parent "/$(basename "$PWD")" \
                -H "unix://$PWD/sock" >daemon.log 2>&1 &
            export DOCKER_HOST=unix://$PWD/sock
            for i in $(seq 240); do docker version >/dev/null 2>&1 && break; sleep 0.5; done
            tar -C root -c . | docker import - busybox || { tail -n 5 daemon.log; exit 1; }"#,
        prelude: r#"
            cd "$LAB"; export DOCKER_HOST=unix://$LAB/sock
            run() { docker run --rm --network none "$@"; }
            until_ends() { for i in $(seq 600); do [ "$(docker inspect -f '{{.State.Running}}' "$1")" = false ] && return; sleep 0.1; done; return 1; }"#,
    },
    Engine {
        name: "ctr",
        needs: &["containerd", "containerd-shim-runc-v2", "ctr", "busybox", "runc"],
        setup: r#"
            printf 'version = 2\nroot = "%s/data"\nstate = "%s/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "%s/sock"\n' \
                "$PWD" "$PWD" "$PWD" >config.toml
            containerd -c config.toml >daemon.log 2>&1 &
            for i in $(seq 240); do ctr -a "$PWD/sock" version >/dev/null 2>&1 && exit 0; sleep 0.5; done
            tail -n 5 daemon.log; exit 1"#,
        prelude: r#"
            cd "$LAB"; export CONTAINERD_ADDRESS=$LAB/sock CONTAINERD_NAMESPACE=$(basename "$LAB")
            run() { ctr run --runc-binary "$RUNTIME" --env PATH=/bin "${flags[@]}" --rootfs "$@"; }
            start() { run -d "$LAB/root" "$@"; }
            flags=(--rm)"#,
    },
    Engine {
        name: "cri",
        needs: &["containerd", "containerd-shim-runc-v2", "ctr", "busybox", "runc"],
        // Images come as docker would save them. Plugins give pods no more than the loopback they have, and
        // the address that the engine insists on. A pod's oom_score_adj is below what some machines allow.
        setup: r#"
            image() {
                mkdir "$1.image"; cp layer.tar "$1.image"
                printf '{"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": %s}, "rootfs": {"type": "layers", "diff_ids": ["sha256:%s"]}}' \
                    "$2" "$(sha256sum <layer.tar | cut -d' ' -f1)" >"$1.image/config.json"
                printf '[{"Config": "config.json", "RepoTags": ["docker.io/library/%s:latest"], "Layers": ["layer.tar"]}]' "$1" >"$1.image/manifest.json"
                tar -C "$1.image" -cf "$1.tar" .
                ctr -a "$PWD/sock" -n k8s.io image import "$1.tar"
            }
            mkdir cni net logs
            printf '{"cniVersion": "0.4.0", "name": "none", "plugins": [{"type": "none"}]}' >net/none.conflist
            plugin() { printf '#!/bin/sh\ncat >/dev/null\necho %s\n' "'$2'" >"cni/$1"; }
            plugin none '{"cniVersion": "0.4.0", "interfaces": [{"name": "eth0", "sandbox": "x"}], "ips": [{"version": "4", "interface": 0, "address": "10.0.0.2/24"}]}'
            plugin loopback '{"cniVersion": "0.4.0"}'
            chmod +x cni/*
            cat >config.toml <<END
version = 2
root = "$PWD/data"
state = "$PWD/state"
[grpc]
address = "$PWD/sock"
[plugins."io.containerd.internal.v1.opt"]
path = "$PWD/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/library/pause:latest"
stream_server_address = "127.0.0.1"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "$PWD/cni"
conf_dir = "$PWD/net"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "$RUNTIME"
END
            containerd -c config.toml >daemon.log 2>&1 &
            for i in $(seq 240); do ctr -a "$PWD/sock" version >/dev/null 2>&1 && break; sleep 0.5; done
            tar -C root -cf layer.tar .
            image busybox '["sh"]'
            image pause '["sh", "-c", "trap exit TERM; while :; do sleep 3600 & wait; done"]'"#,
        prelude: concat!(
            "cri() { CRI_SOCKET=$LAB/sock CRI_LOGS=$LAB/logs CRI_CGROUP=/$(basename \"$LAB\") ",
            env!("CARGO_BIN_EXE_cri"),
            r#" "$@"; }
            cd "$LAB"
            until_exited() { for i in $(seq 600); do cri status "$1" | grep -q ^Exited && return; sleep 0.1; done; return 1; }
            gone() { cri stop-pod "$1"; cri remove-pod "$1"; }"#
        ),
    },
    Engine {
        name: "podman",
        needs: &["podman", "conmon", "busybox", "runc"],
        setup: r#"
            mkdir etc
            printf '[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=4096:8192"]\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' >etc/containers.conf
            export CONTAINERS_CONF=$PWD/etc/containers.conf
            tar -C root -c . | podman --root "$PWD/data" --runroot "$PWD/run" import - busybox"#,
        prelude: r#"
            cd "$LAB"; export CONTAINERS_CONF=$LAB/etc/containers.conf PODMAN_IGNORE_CGROUPSV1_WARNING=1
            global="--root $LAB/data --runroot $LAB/run --runtime $RUNTIME"
            podman() {
                local parent=--cgroup-parent=/$(basename "$LAB")
                case "$1 $2" in
                "pod create") shift 2; set -- pod create $parent "$@" ;;
                run* | create*) set -- "$1" $parent "${@:2}" ;;
                esac
                command podman $global "$@"
            }
            run() { podman run --rm --network none "$@"; }"#,
    },
    Engine {
        name: "systemd",
        needs: &[
            "/lib/systemd/systemd",
            "systemctl",
            "busctl",
            "dbus-daemon",
            "dockerd",
            "docker",
            "busybox",
            "runc",
        ],
        // It is asked to make the containers' cgroups: two of them, one on a host of each sort, with none of
        // the machine's units but a bus.
        setup: r#"
            unit() { printf "[Unit]\nDefaultDependencies=no\n$2" >"$1"; }
            for bus in system session; do
                [ $bus = system ] && socket=%%t/dbus/system_bus_socket || socket=%%t/bus
                mkdir $bus
                unit $bus/lab.target 'Wants=dbus.service\n'
                unit $bus/dbus.socket "[Socket]\nListenStream=$socket\n"
                unit $bus/dbus.service "Requires=dbus.socket\n[Service]\nType=notify\nExecStart=/usr/bin/dbus-daemon --$bus --address=systemd: --nofork --nopidfile --systemd-activation --syslog-only\n"
            done
            chmod 755 .
            cat >boot <<'END'
set -e
mount --make-rprivate /
umount -l /sys/fs/cgroup
if [ "$1" = unified ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    group() { mkdir "/sys/fs/cgroup/$1"; mount -t "$2" ${3:+-o "$3"} "$2" "/sys/fs/cgroup/$1"; }
    for name in $(tail -n +2 /proc/cgroups | awk '$2 {print $1}'); do group "$name" cgroup "$name"; done
    group systemd cgroup none,name=systemd
    group unified cgroup2
fi
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
# The machine's own is not to be made up.
[ ! -e /etc/machine-id ] || { tr -d - </proc/sys/kernel/random/uuid >"$1/id"; mount --bind "$1/id" /etc/machine-id; }
export container=lab SYSTEMD_UNIT_PATH=$PWD/system:/run/systemd/transient:/run/systemd/system.control
exec /lib/systemd/systemd --system --unit=lab.target --log-target=console --show-status=false
END
            kinds="hybrid unified"; [ ! -e /sys/fs/cgroup/cgroup.controllers ] || kinds=unified
            for kind in $kinds; do
                mkdir $kind
                (
                    for group in /sys/fs/cgroup /sys/fs/cgroup/*; do
                        [ -e $group/cgroup.procs ] || continue
                        own=$group/$(basename "$PWD")/$kind; mkdir -p $own
                        for file in cpuset.cpus cpuset.mems; do
                            [ ! -e $own/$file ] || { cat $group/$file >$own/../$file; cat $group/$file >$own/$file; }
                        done
                        echo $BASHPID >$own/cgroup.procs
                    done
                    exec unshare --mount --pid --cgroup --fork --kill-child bash boot $kind
                ) >$kind/log 2>&1 &
                holder=$!
                for i in $(seq 600); do
                    init=$(cat /proc/$holder/task/$holder/children) || { cat $kind/log; exit 1; }
                    [ -n "$init" ] && nsenter -t $init -m -p -C busctl status org.freedesktop.systemd1 >/dev/null 2>&1 && break
                    sleep 0.1
                done
                [ "$i" -lt 600 ] || { tail -n 5 $kind/log; exit 1; }
                echo $init >$kind/init
            done"#,
        prelude: r#"
            cd "$LAB"
            runtime() { "$RUNTIME" --root /run/state --systemd-cgroup "$@"; }
            bundle() { # NAME CGROUPS-PATH RESOURCES ANNOTATIONS COMMAND
                # A /dev of its own: runc makes links there, and other containers of this root do at the same time.
                mkdir -p $1
                printf '{"ociVersion": "1.0.2", "process": {"cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", "%s"]}, "root": {"path": "%s"}, "annotations": %s, "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}], "linux": {"cgroupsPath": "%s", "resources": %s, "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}]}}' \
                    "$5" "$LAB/root" "$4" "$2" "$3" >$1/config.json
            }
            start() { bundle "$@"; runtime run -d -b $1 $1 </dev/null >$1/out 2>&1; local code=$?; cat $1/out; return $code; }
            show() { systemctl show $(printf -- ' -p %s' $2) $1; }
            shown() { systemctl list-units --all --no-legend --plain | grep -c " *$1 "; find /sys/fs/cgroup -name "$1"; }
            export -f runtime bundle start show shown
            on() { [ -e $1/init ] && nsenter --target $(cat $1/init) --mount --pid --cgroup bash -c "cd $LAB/$1; $2"; }
            both() { for kind in hybrid unified; do echo "$kind:"; on $kind "$1"; done; }"#,
    },
];

/// One engine with one runtime.
struct Bench {
    engine: &'static Engine,
    runtime: PathBuf,
    lab: OnceLock<Result<Lab, String>>,
}

impl Bench {
    fn new(engine: &'static Engine, runtime: &Path) -> Bench {
        Bench { engine, runtime: runtime.to_owned(), lab: OnceLock::new() }
    }

    fn run(&self, script: &str) -> Result<script::Outcome, Failed> {
        let lab = self.lab.get_or_init(|| {
            let setup = format!("{ROOT}\n{}", self.engine.setup);
            let prelude = format!("{WORDS}\n{}", self.engine.prelude);
            Lab::open(&self.runtime, &setup, &prelude).map_err(|e| format!("{e:#}"))
        });
        let lab = lab.as_ref().map_err(Failed::from)?;
        let mut outcome = lab.run(&self.runtime, script).map_err(|e| format!("{e:#}"))?;
        // Engines put their own and the runtime's names into it: a script shows what matters.
        outcome.stderr.clear();
        Ok(outcome)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::from_args();
    let is_required = std::env::var_os("CI").is_some();
    if !nix::unistd::Uid::effective().is_root() {
        if is_required {
            bail!("the engines' test is required in CI and needs root");
        }
        eprintln!("engines: needs root: nothing was run");
        libtest_mimic::run(&arguments, Vec::new()).exit();
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines");
    let ours = tests::runsc()?;
    let mut trials = Vec::new();
    let mut all: Vec<(Arc<[Bench; 2]>, Vec<Case>)> = Vec::new();
    for engine in &ENGINES {
        if let Some(missing) = engine.needs.iter().find(|program| find(program).is_none()) {
            if is_required {
                bail!("{}: {missing} is required in CI", engine.name);
            }
            eprintln!("engines: {}: {missing} is not installed: nothing was run", engine.name);
            continue;
        }
        let runc = find("runc").context("runc")?;
        let benches = Arc::new([Bench::new(engine, &runc), Bench::new(engine, &ours)]);
        all.push((benches, script::read_cases(&here.join(format!("{}.sh", engine.name)))?));
    }
    let cases = all.iter().flat_map(|(_, cases)| cases);
    let expected = Arc::new(Expected::read(&here.join("expect.toml"), cases)?);
    for (benches, cases) in all {
        let engine = benches[0].engine.name;
        for case in cases {
            let (benches, expected) = (Arc::clone(&benches), Arc::clone(&expected));
            trials.push(Trial::test(format!("{engine}::{}", case.name), move || {
                let [oracle, ours] = &*benches;
                let (oracle, ours) = (oracle.run(&case.script)?, ours.run(&case.script)?);
                let verdict = expected.judge(engine, &case.name, &oracle, &ours);
                Ok(verdict.map_err(|error| format!("{error:#}"))?)
            }));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    conclusion.exit()
}

/// The program of this name.
fn find(name: &str) -> Option<PathBuf> {
    let output = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    (!path.trim().is_empty()).then(|| PathBuf::from(path.trim()))
}
