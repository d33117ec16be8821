// SPDX-License-Identifier: Apache-2.0
//! The one table of commands and flags: parser, help, completions and man pages are read from it.
//!
//! Global flags carry gVisor's names and meanings, the flags of the OCI commands runc's. A flag that
//! we accept without acting on it says why in its [`Effect`].

use crate::command;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing, or `=true` and `=false`.
    Bool,
    /// Any text; the name of the value in the help.
    Text(&'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number.
    Number,
}

/// What a flag does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// What its help says.
    Acts,
    /// Nothing here, and it is no mistake to give it: the reason.
    Ignored(&'static str),
}

/// One flag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// Without the dashes.
    pub(crate) name: &'static str,
    /// A one-letter alias.
    pub(crate) short: Option<&'static str>,
    /// What it takes.
    pub(crate) kind: Kind,
    /// The value when it is not given.
    pub(crate) default: &'static str,
    /// Whether it acts.
    pub(crate) effect: Effect,
    /// One sentence without a full stop.
    pub(crate) help: &'static str,
}

/// How the arguments after the flags are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Flags may also follow the arguments.
    Mixed,
    /// The first argument ends the flags: what follows belongs to a program.
    FlagsFirst,
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command {
    /// What is typed.
    pub(crate) name: &'static str,
    /// Its arguments in the help.
    pub(crate) args: &'static str,
    /// How many arguments it needs and takes at most.
    pub(crate) arity: (usize, usize),
    /// Where flags may stand.
    pub(crate) order: Order,
    /// One sentence without a full stop; empty for the internal ones.
    pub(crate) help: &'static str,
    /// Its flags.
    pub(crate) flags: &'static [Flag],
    /// The exit code of its own failures.
    pub(crate) failure: u8,
    /// What it does.
    pub(crate) run: command::Run,
}

const fn acts(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, kind, default, effect: Effect::Acts, help }
}

const fn short(letter: &'static str, flag: Flag) -> Flag {
    Flag { short: Some(letter), ..flag }
}

const fn ignored(name: &'static str, kind: Kind, why: &'static str) -> Flag {
    Flag { name, short: None, kind, default: "", effect: Effect::Ignored(why), help: "" }
}

const PATH: Kind = Kind::Text("PATH");
const TEXT: Kind = Kind::Text("TEXT");
const ANY: usize = usize::MAX;

const NO_GO: &str = "it tunes the Go runtime, which we do not have";
const NO_STACK: &str = "there is no packet network yet";
const HANDLED_OTHERWISE: &str = "the behaviour it chooses is the only one we have";
const NO_DEVICE: &str = "no host device is passed through";

/// Flags before the command.
pub(crate) const GLOBAL: &[Flag] = &[
    acts(
        "root",
        PATH,
        "",
        "directory of container state ($XDG_RUNTIME_DIR/runsc or /var/run/runsc)",
    ),
    acts("log", PATH, "", "file that our messages are appended to"),
    acts("log-format", Kind::Choice(&["text", "json", "json-k8s"]), "text", "format of --log"),
    acts("debug", Kind::Bool, "false", "log more"),
    acts(
        "debug-log",
        PATH,
        "",
        "further log; %ID%, %TIMESTAMP% and %COMMAND% are replaced, a final / means a directory",
    ),
    acts(
        "debug-log-format",
        Kind::Choice(&["text", "json", "json-k8s"]),
        "text",
        "format of --debug-log",
    ),
    acts("alsologtostderr", Kind::Bool, "false", "log to standard error too"),
    acts("platform", Kind::Choice(&["systrap", "ptrace"]), "systrap", "how guest code runs"),
    acts(
        "network",
        Kind::Choice(&["none", "sandbox", "host"]),
        "sandbox",
        "what network the guest sees",
    ),
    acts("strace", Kind::Bool, "false", "log the guest's system calls"),
    acts(
        "strace-syscalls",
        Kind::Text("NAME,…"),
        "",
        "with --strace: only these calls and families; stable leaves out what differs between runs",
    ),
    ignored("strace-log-size", Kind::Number, "as much of a buffer is shown as strace(1) shows"),
    acts(
        "overlay2",
        Kind::Text("SPEC"),
        "none",
        "keep writes off the host: none, or {root,all}:{self,memory,dir=PATH}",
    ),
    acts(
        "file-access",
        Kind::Choice(&["exclusive", "timed", "shared"]),
        "timed",
        "who else changes the root file system: nobody, others now and then, others at any time",
    ),
    acts(
        "file-access-mounts",
        Kind::Choice(&["exclusive", "timed", "shared"]),
        "shared",
        "the same for other mounts",
    ),
    acts(
        "host-uds",
        Kind::Choice(&["none", "open", "create", "all"]),
        "none",
        "which unix sockets of the host the guest may use",
    ),
    acts(
        "host-fifo",
        Kind::Choice(&["none", "open"]),
        "none",
        "whether the guest may open fifos of the host",
    ),
    acts("rootless", Kind::Bool, "false", "run without root's rights"),
    acts("ignore-cgroups", Kind::Bool, "false", "leave the host's cgroups alone"),
    acts("allow-suid", Kind::Bool, "false", "honour set-user-id and set-group-id bits"),
    acts(
        "systrap-disable-syscall-patching",
        Kind::Bool,
        "false",
        "do not rewrite system call sites of the guest",
    ),
    acts("systemd-cgroup", Kind::Bool, "false", "have systemd make the host's cgroups"),
    acts(
        "cgroup-manager",
        Kind::Choice(&["cgroupfs", "systemd", "disabled"]),
        "cgroupfs",
        "who makes the host's cgroups: we, systemd, or nobody",
    ),
    acts(
        "cpu-num-from-quota",
        Kind::Bool,
        "true",
        "show the guest as many processors as its quota is worth, rounded up",
    ),
    ignored("criu", PATH, "checkpoints are not made by criu"),
    ignored("debug-command", TEXT, "--debug covers every command"),
    ignored("debug-to-user-log", Kind::Bool, "name a file with --debug-log"),
    ignored("panic-log", PATH, "a panic is reported by the command itself"),
    ignored("coverage-report", PATH, NO_GO),
    ignored("log-packets", Kind::Bool, NO_STACK),
    ignored("pcap-log", PATH, NO_STACK),
    ignored("allow-flag-override", Kind::Bool, "annotations do not change flags"),
    ignored("traceback", TEXT, NO_GO),
    ignored("metric-server", TEXT, "there is no metric server"),
    ignored("final-metrics-log", PATH, "there is no metric server"),
    ignored("profiling-metrics", TEXT, "there is no metric server"),
    ignored("profiling-metrics-log", PATH, "there is no metric server"),
    ignored("profiling-metrics-rate-us", Kind::Number, "there is no metric server"),
    ignored("strace-event", Kind::Bool, "--strace writes to the log"),
    ignored("platform_device_path", PATH, "no platform of ours needs a device"),
    ignored("watchdog-action", Kind::Choice(&["log", "panic"]), "a stuck task is reported"),
    ignored("panic-signal", Kind::Number, "no signal makes the sandbox panic"),
    ignored("profile", Kind::Bool, NO_GO),
    ignored("profile-block", PATH, NO_GO),
    ignored("profile-cpu", PATH, NO_GO),
    ignored("profile-heap", PATH, NO_GO),
    ignored("profile-mutex", PATH, NO_GO),
    ignored("profile-gc-interval", TEXT, NO_GO),
    ignored("trace", PATH, NO_GO),
    ignored("ref-leak-mode", TEXT, NO_GO),
    ignored("oci-seccomp", Kind::Bool, "a guest filter from the bundle is not applied yet"),
    ignored("enable-core-tags", Kind::Bool, "core scheduling is not set up"),
    ignored("pod-init-config", PATH, "there are no trace sessions"),
    ignored("host-settings", TEXT, "the host's settings are never changed"),
    ignored("sidecar-release-enforcement-policy", TEXT, "there is one binary"),
    ignored("restore-spec-validation", TEXT, "there is no restore yet"),
    ignored("systrap-disable-fast-path", Kind::Bool, HANDLED_OTHERWISE),
    ignored("kvm-use-cpu-nums", Kind::Bool, "there is no kvm platform"),
    ignored(
        "allow-rootfs-tar-annotation",
        Kind::Bool,
        "annotations do not change the root file system",
    ),
    ignored("control-rpc-stop-timeout", TEXT, HANDLED_OTHERWISE),
    ignored("shared-root", PATH, "state is in --root alone"),
    ignored("app-huge-pages", Kind::Bool, "guest memory is the host's own: its settings apply"),
    ignored("overlay", Kind::Bool, "use --overlay2"),
    ignored("character-device-policy", TEXT, NO_DEVICE),
    ignored("gvisor-marker-file", Kind::Bool, "there is no marker file"),
    ignored("override-procs", TEXT, "proc files are the sandbox's own"),
    ignored("mount-cgroup-v2", Kind::Bool, HANDLED_OTHERWISE),
    ignored("fdlimit", Kind::Number, "the host's hard limit is used"),
    ignored("dcache", Kind::Number, "the cache has its own limits"),
    ignored("iouring", Kind::Bool, "there is no io_uring in the sandbox"),
    ignored("directfs", Kind::Bool, "our sentry never opens files"),
    ignored("TESTONLY-nftables", Kind::Bool, NO_STACK),
    ignored("gofer-network-namespace", TEXT, "the gofer's network namespace is always empty"),
    ignored("net-raw", Kind::Bool, NO_STACK),
    ignored("allow-packet-socket-write", Kind::Bool, NO_STACK),
    ignored("allow-live-tcp-migration", Kind::Bool, NO_STACK),
    ignored("gso", Kind::Bool, NO_STACK),
    ignored("software-gso", Kind::Bool, NO_STACK),
    ignored("gvisor-gro", Kind::Bool, NO_STACK),
    ignored("tx-checksum-offload", Kind::Bool, NO_STACK),
    ignored("rx-checksum-offload", Kind::Bool, NO_STACK),
    ignored("qdisc", TEXT, NO_STACK),
    ignored("qdisc-tbf-rate", Kind::Number, NO_STACK),
    ignored("qdisc-tbf-burst", Kind::Number, NO_STACK),
    ignored("num-network-channels", Kind::Number, NO_STACK),
    ignored("network-processors-per-channel", Kind::Number, NO_STACK),
    ignored("EXPERIMENTAL-xdp", TEXT, NO_STACK),
    ignored("EXPERIMENTAL-xdp-need-wakeup", Kind::Bool, NO_STACK),
    ignored("reproduce-nat", Kind::Bool, NO_STACK),
    ignored("reproduce-nftables", Kind::Bool, NO_STACK),
    ignored("net-disconnect-ok", Kind::Bool, NO_STACK),
    ignored("pause-external-networking", Kind::Bool, NO_STACK),
    ignored("allow-connected-on-save", Kind::Bool, NO_STACK),
    ignored("nvproxy", Kind::Bool, NO_DEVICE),
    ignored("nvproxy-docker", Kind::Bool, NO_DEVICE),
    ignored("nvproxy-driver-version", TEXT, NO_DEVICE),
    ignored("nvproxy-allow-unsupported-driver", Kind::Bool, NO_DEVICE),
    ignored("nvproxy-allowed-driver-capabilities", TEXT, NO_DEVICE),
    ignored("tpuproxy", Kind::Bool, NO_DEVICE),
    ignored("rdmaproxy", Kind::Bool, NO_DEVICE),
    ignored("TESTONLY-unsafe-nonroot", Kind::Bool, HANDLED_OTHERWISE),
    ignored("buffer-pooling", Kind::Bool, HANDLED_OTHERWISE),
    ignored("vfs2", Kind::Bool, HANDLED_OTHERWISE),
    ignored("fuse", Kind::Bool, HANDLED_OTHERWISE),
    ignored("lisafs", Kind::Bool, HANDLED_OTHERWISE),
    ignored("cgroupfs", Kind::Bool, HANDLED_OTHERWISE),
    ignored("fsgofer-host-uds", Kind::Bool, "use --host-uds"),
    ignored("save-restore-netstack", Kind::Bool, NO_STACK),
];

const BUNDLE: Flag =
    short("b", acts("bundle", PATH, "", "directory with config.json (default: the current one)"));
const PID_FILE: Flag =
    acts("pid-file", PATH, "", "file that the host's process number is written to");
const CONSOLE_SOCKET: Flag =
    acts("console-socket", PATH, "", "unix socket that the terminal's master is sent to");
const NO_PIVOT: Flag =
    ignored("no-pivot", Kind::Bool, "the guest's root is never a root of the host's");
const NO_KEYRING: Flag = ignored("no-new-keyring", Kind::Bool, "the guest has no host keyring");
const PRESERVE_FDS: Flag =
    acts("preserve-fds", Kind::Number, "0", "hand this many descriptors from 3 on to the guest");
const FORMAT: Flag =
    short("f", acts("format", Kind::Choice(&["table", "json"]), "table", "shape of the output"));

const CREATE_FLAGS: &[Flag] =
    &[BUNDLE, CONSOLE_SOCKET, PID_FILE, NO_PIVOT, NO_KEYRING, PRESERVE_FDS];

const RUN_FLAGS: &[Flag] = &[
    BUNDLE,
    CONSOLE_SOCKET,
    PID_FILE,
    short("d", acts("detach", Kind::Bool, "false", "return once the container runs")),
    acts("keep", Kind::Bool, "false", "leave the container's state for a later delete"),
    ignored("no-subreaper", Kind::Bool, "orphans of the guest stay in the guest"),
    NO_PIVOT,
    NO_KEYRING,
    PRESERVE_FDS,
];

const DO_FLAGS: &[Flag] = &[
    acts("root", PATH, "/", "directory that the program sees as its root"),
    acts("cwd", PATH, ".", "working directory of the program"),
    acts("quiet", Kind::Bool, "false", "print nothing of our own, but errors"),
    acts("force-overlay", Kind::Bool, "true", "throw writes away; without it they go to the host"),
    acts("uid-map", TEXT, "", "user ids inside, outside and their count, as in /proc/self/uid_map"),
    acts("gid-map", TEXT, "", "the same for groups"),
    acts(
        "volume",
        Kind::Text("SRC[:DST[:ro]]"),
        "",
        "let the program write to this directory of the host",
    ),
    acts(
        "report",
        Kind::Bool,
        "false",
        "print at the end what the program asked for that we do not support",
    ),
    ignored("ip", TEXT, NO_STACK),
];

const SPEC_FLAGS: &[Flag] = &[
    BUNDLE,
    acts(
        "rootless",
        Kind::Bool,
        "false",
        "for an ordinary user: a user namespace and its mappings",
    ),
    acts("cwd", PATH, "/", "working directory of the process"),
    ignored("netns", PATH, "name the namespace in config.json"),
];

const EXEC_FLAGS: &[Flag] = &[
    short("p", acts("process", PATH, "", "file that describes the process as config.json would")),
    short("t", acts("tty", Kind::Bool, "false", "give the process a terminal")),
    CONSOLE_SOCKET,
    acts(
        "pid-file",
        PATH,
        "",
        "file that the number of the process that stands for it is written to",
    ),
    acts("internal-pid-file", PATH, "", "file that its number inside is written to"),
    short("d", acts("detach", Kind::Bool, "false", "return once the process runs")),
    short("u", acts("user", Kind::Text("UID[:GID]"), "", "user and group, by number or name")),
    short("g", acts("additional-gids", Kind::Text("GID"), "", "one more group of the process")),
    short("c", acts("cap", TEXT, "", "one more capability of the process")),
    acts("cwd", PATH, "", "working directory of the process"),
    short("e", acts("env", Kind::Text("NAME=VALUE"), "", "one more variable of its environment")),
    PRESERVE_FDS,
    acts("no-new-privs", Kind::Bool, "false", "never let the process gain rights"),
    acts("ignore-paused", Kind::Bool, "false", "let the process wait in a paused container"),
    acts("pass-fd", Kind::Text("M:N"), "", "refused: use --preserve-fds"),
    acts("exec-fd", Kind::Number, "0", "refused: name the program"),
    ignored("cgroup", TEXT, "guest processes are in no cgroup of the host"),
    ignored("process-label", TEXT, "SELinux labels do not exist in a sandbox"),
    ignored("apparmor", TEXT, "AppArmor profiles do not exist in a sandbox"),
    NO_PIVOT,
];

const PS_FLAGS: &[Flag] = &[FORMAT];

const WAIT_FLAGS: &[Flag] = &[
    acts("pid", Kind::Number, "-1", "process of the container: 1, the first"),
    acts("rootpid", Kind::Number, "-1", "process of the sandbox: 1, the first"),
];

const KILL_FLAGS: &[Flag] = &[
    short("a", acts("all", Kind::Bool, "false", "signal every process of the container")),
    acts("pid", Kind::Number, "-1", "signal this process, by its number inside"),
    acts("pgid", Kind::Number, "-1", "signal this process group, by its number inside"),
];

const DELETE_FLAGS: &[Flag] =
    &[short("f", acts("force", Kind::Bool, "false", "kill the container first if it runs"))];

const LIST_FLAGS: &[Flag] =
    &[FORMAT, short("q", acts("quiet", Kind::Bool, "false", "only the ids"))];

const CONFIG_FILE: Flag =
    acts("config_file", PATH, "/etc/docker/daemon.json", "docker's configuration");
const RUNTIME: Flag = acts("runtime", TEXT, "runsc", "name of the runtime in it");

const INSTALL_FLAGS: &[Flag] = &[
    CONFIG_FILE,
    RUNTIME,
    acts("experimental", Kind::Bool, "false", "turn docker's experimental features on"),
    acts("clobber", Kind::Bool, "true", "replace a runtime of this name"),
    acts("cgroupdriver", TEXT, "", "docker's cgroup driver: cgroupfs or systemd"),
];

const DOCTOR_FLAGS: &[Flag] =
    &[acts("format", Kind::Choice(&["text", "json"]), "text", "shape of the output")];

const EVENTS_FLAGS: &[Flag] = &[
    acts("stats", Kind::Bool, "false", "print what the container uses, once"),
    acts("interval", Kind::Text("DURATION"), "5s", "time from one line to the next"),
];

const UPDATE_FLAGS: &[Flag] = &[
    short(
        "r",
        acts("resources", PATH, "", "file with a resources object of config.json, or - for stdin"),
    ),
    acts("blkio-weight", TEXT, "", "weight of block I/O, 10 to 1000"),
    acts("cpu-period", TEXT, "", "period of the CPU quota in microseconds"),
    acts("cpu-quota", TEXT, "", "CPU time in a period in microseconds, -1 for no limit"),
    acts("cpu-burst", TEXT, "", "CPU time that may be saved up in microseconds"),
    acts("cpu-share", TEXT, "", "CPU shares, relative to other containers"),
    acts("cpu-rt-period", TEXT, "", "period of the realtime quota in microseconds"),
    acts("cpu-rt-runtime", TEXT, "", "realtime CPU time in a period in microseconds"),
    acts("cpu-idle", TEXT, "", "1 for CPU time that nobody else wants, 0 for ordinary"),
    acts("cpuset-cpus", TEXT, "", "CPUs to run on, as in 0-3,7"),
    acts("cpuset-mems", TEXT, "", "memory nodes to use"),
    acts("memory", Kind::Text("BYTES"), "", "memory limit; suffixes as 64M are powers of 1024"),
    acts("memory-reservation", Kind::Text("BYTES"), "", "memory that is kept under pressure"),
    acts("memory-swap", Kind::Text("BYTES"), "", "limit of memory and swap, -1 for no limit"),
    acts("pids-limit", TEXT, "", "most tasks of the container, -1 for no limit"),
    acts("l3-cache-schema", TEXT, "", "refused: Intel RDT is not supported"),
    acts("mem-bw-schema", TEXT, "", "refused: Intel RDT is not supported"),
];

const HELP_FLAGS: &[Flag] =
    &[acts("man", Kind::Bool, "false", "print a manual page in roff instead")];

const fn oci(
    name: &'static str,
    run: command::Run,
    flags: &'static [Flag],
    help: &'static str,
) -> Command {
    Command {
        name,
        args: "<container-id>",
        arity: (1, 1),
        order: Order::Mixed,
        help,
        flags,
        failure: 1,
        run,
    }
}

/// Every command, in the order of the help.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "do",
        args: "[--] <command> [argument …]",
        arity: (1, ANY),
        order: Order::FlagsFirst,
        help: "run a program over the host's files and throw its writes away",
        flags: DO_FLAGS,
        failure: 128,
        run: command::do_::run,
    },
    oci("run", command::run::run, RUN_FLAGS, "create and start a container from a bundle"),
    oci("create", command::create::run, CREATE_FLAGS, "create a container that waits for start"),
    oci("start", command::start::run, &[], "start a created container"),
    oci("state", command::state::run, &[], "print the state of a container"),
    Command {
        args: "<container-id> [signal]",
        arity: (1, 2),
        ..oci(
            "kill",
            command::kill::run,
            KILL_FLAGS,
            "send a signal (default TERM) to a container's first process",
        )
    },
    Command {
        args: "<container-id> [--] <command> [argument …]",
        arity: (1, ANY),
        order: Order::FlagsFirst,
        failure: 255,
        ..oci("exec", command::exec::run, EXEC_FLAGS, "run a further process in a container")
    },
    Command {
        args: "<container-id> [option of ps …]",
        arity: (1, ANY),
        order: Order::FlagsFirst,
        ..oci(
            "ps",
            command::ps::run,
            PS_FLAGS,
            "show the host's processes that stand for a container's",
        )
    },
    oci(
        "wait",
        command::wait::run,
        WAIT_FLAGS,
        "wait for a container's end and print its exit code",
    ),
    oci("pause", command::pause::run, &[], "stop every process of a container, unseen by them"),
    oci("resume", command::resume::run, &[], "let the processes of a paused container go on"),
    oci(
        "events",
        command::events::run,
        EVENTS_FLAGS,
        "print what a container uses, and when it runs out of memory",
    ),
    oci("update", command::update::run, UPDATE_FLAGS, "change the limits of a container"),
    oci("delete", command::delete::run, DELETE_FLAGS, "delete a container and all that it held"),
    Command {
        args: "",
        arity: (0, 0),
        ..oci("list", command::list::run, LIST_FLAGS, "list the containers of --root")
    },
    Command {
        args: "",
        arity: (0, 0),
        ..oci("spec", command::spec::run, SPEC_FLAGS, "write a config.json to start from")
    },
    Command {
        args: "",
        arity: (0, 0),
        ..oci("features", command::features::run, &[], "print what this runtime supports as JSON")
    },
    Command {
        args: "",
        arity: (0, 0),
        ..oci(
            "doctor",
            command::doctor::run,
            DOCTOR_FLAGS,
            "tell what this host can do for sandboxes, and how to mend what it cannot",
        )
    },
    Command {
        args: "[-- runtime-flag …]",
        arity: (0, ANY),
        order: Order::FlagsFirst,
        ..oci(
            "install",
            command::install::install,
            INSTALL_FLAGS,
            "add this program to docker's runtimes",
        )
    },
    Command {
        args: "",
        arity: (0, 0),
        ..oci(
            "uninstall",
            command::install::uninstall,
            &[CONFIG_FILE, RUNTIME],
            "take this program out of docker's runtimes",
        )
    },
    Command {
        args: "<bash|zsh|fish>",
        ..oci("completion", command::completion::run, &[], "print a shell's completion script")
    },
    Command {
        args: "[command]",
        arity: (0, 1),
        ..oci("help", command::help::run, HELP_FLAGS, "explain a command")
    },
    Command { arity: (0, 1), ..oci("boot", command::boot::run, &[], "") },
    Command { arity: (0, 1), ..oci("gofer", command::gofer::run, &[], "") },
];

/// The command of this name.
pub(crate) fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}
