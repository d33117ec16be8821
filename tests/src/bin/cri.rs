// SPDX-License-Identifier: Apache-2.0
//! `cri COMMAND …`: one call of the Container Runtime Interface, for scripts.
//!
//! `$CRI_SOCKET` is the engine's socket, `$CRI_LOGS` where logs go, `$CRI_CGROUP` the cgroup of all pods. Pods and
//! containers go by their names. An engine's refusal is exit code 100 and its words on standard error.

use std::{env, io::Write, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};
use tests::cri::{
    Client, Refusal,
    messages::{
        Container, ContainerConfig, ContainerId, ContainerMetadata, ContainerState,
        ContainerStatsResponse, ContainerStatusResponse, CpuUsage, CreateContainerRequest, Empty,
        ExecSyncRequest, ExecSyncResponse, ImageSpec, Int64Value, KeyValue, LinuxContainerConfig,
        LinuxContainerResources, LinuxContainerSecurityContext, LinuxPodSandboxConfig,
        LinuxSandboxSecurityContext, ListContainersResponse, ListPodSandboxResponse, MemoryUsage,
        Mount, NamespaceMode, NamespaceOption, PodSandbox, PodSandboxConfig, PodSandboxId,
        PodSandboxMetadata, PodSandboxState, PodSandboxStatsResponse, PodSandboxStatusResponse,
        RunPodSandboxRequest, StopContainerRequest, UInt64Value, UpdateContainerResourcesRequest,
        VersionResponse,
    },
};

const REFUSED: u8 = 100;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut out = Vec::new();
    let result = Client::connect(Path::new(&variable("CRI_SOCKET")))
        .and_then(|client| run(&client, &words, &mut out));
    let written = std::io::stdout().write_all(&out).context("standard output");
    match result.and_then(|code| written.map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("cri: {error:#}");
            let is_refused = error.downcast_ref::<Refusal>().is_some();
            ExitCode::from(if is_refused { REFUSED } else { 101 })
        }
    }
}

/// One command; its exit code.
fn run(client: &Client, words: &[&str], out: &mut Vec<u8>) -> Result<u8> {
    match words {
        ["version"] => {
            let it: VersionResponse = client.call("Version", &Empty {})?;
            writeln!(out, "{} {}", it.runtime_name, it.runtime_api_version)?;
        }
        ["run-pod", name, options @ ..] => {
            let config = Some(pod(name, options)?);
            let request = RunPodSandboxRequest { config };
            let _: PodSandboxId = client.call("RunPodSandbox", &request)?;
        }
        ["pods", name] => {
            for it in pods(client, name)? {
                writeln!(out, "{name} {:?}", it.state())?;
            }
        }
        ["ids", name] => {
            for it in pods(client, name)? {
                writeln!(out, "{}", it.id)?;
            }
            for it in containers_of(client, name)? {
                writeln!(out, "{}", it.id)?;
            }
        }
        ["pod-status", name] => {
            let it: PodSandboxStatusResponse =
                client.call("PodSandboxStatus", &pod_id(client, name)?)?;
            let state: PodSandboxState = it.status.context("no status")?.state();
            writeln!(out, "{state:?}")?;
        }
        ["pod-stats", name] => pod_stats(client, name, out)?,
        ["stop-pod", name] => {
            let _: Empty = client.call("StopPodSandbox", &pod_id(client, name)?)?;
        }
        ["remove-pod", name] => {
            let _: Empty = client.call("RemovePodSandbox", &pod_id(client, name)?)?;
        }
        ["create", pod, name, rest @ ..] => create(client, pod, name, rest)?,
        ["start", name] => {
            let _: Empty = client.call("StartContainer", &container_id(client, name)?)?;
        }
        ["containers", pod] => {
            let mut list = containers_of(client, pod)?;
            list.sort_by_key(|it| named(it).to_owned());
            for it in list {
                writeln!(out, "{} {:?}", named(&it), it.state())?;
            }
        }
        ["status", name] => status(client, name, out)?,
        ["log", name] => {
            let it: ContainerStatusResponse =
                client.call("ContainerStatus", &container_id(client, name)?)?;
            let path = it.status.context("no status")?.log_path;
            out.extend(std::fs::read(&path).with_context(|| path.clone())?);
        }
        ["exec", name, "--timeout", seconds, "--", command @ ..] => {
            return exec(client, name, seconds.parse()?, command, out);
        }
        ["exec", name, "--", command @ ..] => return exec(client, name, 0, command, out),
        ["stats", name] => {
            let it: ContainerStatsResponse =
                client.call("ContainerStats", &container_id(client, name)?)?;
            let it = it.stats.context("no statistics")?;
            writeln!(out, "{}", usage(it.cpu.as_ref(), it.memory.as_ref()))?;
        }
        ["update", name, options @ ..] => {
            let ContainerId { container_id } = container_id(client, name)?;
            let linux = Some(resources(options)?);
            let request = UpdateContainerResourcesRequest { container_id, linux };
            let _: Empty = client.call("UpdateContainerResources", &request)?;
        }
        ["stop", name, seconds] => {
            let ContainerId { container_id } = container_id(client, name)?;
            let request = StopContainerRequest { container_id, timeout: seconds.parse()? };
            let _: Empty = client.call("StopContainer", &request)?;
        }
        ["remove", name] => {
            let _: Empty = client.call("RemoveContainer", &container_id(client, name)?)?;
        }
        _ => bail!("no such command: {words:?}"),
    }
    Ok(0)
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// A pod's configuration. Options: `--host-network`, `--hostname NAME`.
fn pod(name: &str, options: &[&str]) -> Result<PodSandboxConfig> {
    let mut hostname = name.to_owned();
    let mut namespaces = NamespaceOption::default();
    let mut rest = options;
    loop {
        rest = match rest {
            [] => break,
            ["--host-network", rest @ ..] => {
                namespaces.set_network(NamespaceMode::Node);
                hostname.clear();
                rest
            }
            ["--hostname", name, rest @ ..] => {
                hostname = (*name).to_owned();
                rest
            }
            [other, ..] => bail!("no such option: {other}"),
        };
    }
    Ok(PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            namespace: "default".to_owned(),
        }),
        hostname,
        log_directory: variable("CRI_LOGS"),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: variable("CRI_CGROUP"),
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces),
            }),
        }),
    })
}

/// The pod of this name, if it is there.
fn pods(client: &Client, name: &str) -> Result<Vec<PodSandbox>> {
    let list: ListPodSandboxResponse = client.call("ListPodSandbox", &Empty {})?;
    let is_it = |it: &Option<PodSandboxMetadata>| it.as_ref().is_some_and(|it| it.name == name);
    Ok(list.items.into_iter().filter(|it| is_it(&it.metadata)).collect())
}

/// The containers of a pod that is there.
fn containers_of(client: &Client, pod: &str) -> Result<Vec<Container>> {
    let ids: Vec<String> = pods(client, pod)?.into_iter().map(|it| it.id).collect();
    let mut list = containers(client)?;
    list.retain(|it| ids.contains(&it.pod_sandbox_id));
    Ok(list)
}

fn pod_id(client: &Client, name: &str) -> Result<PodSandboxId> {
    let pod = pods(client, name)?.pop();
    let pod_sandbox_id = pod.with_context(|| format!("there is no pod {name}"))?.id;
    Ok(PodSandboxId { pod_sandbox_id })
}

fn containers(client: &Client) -> Result<Vec<Container>> {
    let list: ListContainersResponse = client.call("ListContainers", &Empty {})?;
    Ok(list.containers)
}

fn named(container: &Container) -> &str {
    container.metadata.as_ref().map(|it| it.name.as_str()).unwrap_or_default()
}

fn container_id(client: &Client, name: &str) -> Result<ContainerId> {
    let found = containers(client)?.into_iter().find(|it| named(it) == name);
    let container_id = found.with_context(|| format!("there is no container {name}"))?.id;
    Ok(ContainerId { container_id })
}

/// `[OPTION…] -- COMMAND…`. Options: those of [`resources`], `--env A=b`, `--cwd DIR`, `--user UID`, `--volume
/// FROM:TO[:ro]`, `--read-only`, `--tty`, `--pid MODE`.
fn create(client: &Client, pod_name: &str, name: &str, rest: &[&str]) -> Result<()> {
    let mut config = ContainerConfig {
        metadata: Some(ContainerMetadata { name: name.to_owned() }),
        image: Some(ImageSpec { image: "docker.io/library/busybox:latest".to_owned() }),
        log_path: format!("{name}.log"),
        ..ContainerConfig::default()
    };
    let mut security = LinuxContainerSecurityContext::default();
    let mut limits = Vec::new();
    let mut rest = rest;
    loop {
        rest = match rest {
            ["--", command @ ..] => {
                config.command = command.iter().map(|&word| word.to_owned()).collect();
                break;
            }
            ["--env", text, rest @ ..] => {
                let (key, value) = text.split_once('=').context("--env A=b")?;
                config.envs.push(KeyValue { key: key.to_owned(), value: value.to_owned() });
                rest
            }
            ["--cwd", path, rest @ ..] => {
                config.working_dir = (*path).to_owned();
                rest
            }
            ["--user", uid, rest @ ..] => {
                security.run_as_user = Some(Int64Value { value: uid.parse()? });
                rest
            }
            ["--volume", text, rest @ ..] => {
                let mut parts = text.split(':').map(str::to_owned);
                let host_path = parts.next().unwrap_or_default();
                let container_path = parts.next().context("--volume FROM:TO")?;
                let readonly = parts.next().is_some();
                config.mounts.push(Mount { container_path, host_path, readonly });
                rest
            }
            ["--read-only", rest @ ..] => {
                security.readonly_rootfs = true;
                rest
            }
            ["--tty", rest @ ..] => {
                config.tty = true;
                rest
            }
            ["--pid", mode, rest @ ..] => {
                let mode =
                    if *mode == "pod" { NamespaceMode::Pod } else { NamespaceMode::Container };
                security.namespace_options =
                    Some(NamespaceOption { pid: mode.into(), ..NamespaceOption::default() });
                rest
            }
            [option, value, rest @ ..] => {
                limits.extend([*option, *value]);
                rest
            }
            _ => bail!("no command behind --"),
        };
    }
    let resources = Some(resources(&limits)?);
    config.linux = Some(LinuxContainerConfig { resources, security_context: Some(security) });
    let PodSandboxId { pod_sandbox_id } = pod_id(client, pod_name)?;
    let (config, sandbox_config) = (Some(config), Some(pod(pod_name, &[])?));
    let request = CreateContainerRequest { pod_sandbox_id, config, sandbox_config };
    let _: ContainerId = client.call("CreateContainer", &request)?;
    Ok(())
}

/// Options: `--memory BYTES`, `--cpu-shares N`, `--cpu-quota N` (of 100000).
fn resources(options: &[&str]) -> Result<LinuxContainerResources> {
    let mut resources = LinuxContainerResources::default();
    for option in options.chunks(2) {
        match option {
            ["--memory", bytes] => resources.memory_limit_in_bytes = bytes.parse()?,
            ["--cpu-shares", shares] => resources.cpu_shares = shares.parse()?,
            ["--cpu-quota", quota] => {
                (resources.cpu_period, resources.cpu_quota) = (100_000, quota.parse()?);
            }
            _ => bail!("no such option: {option:?}"),
        }
    }
    Ok(resources)
}

fn status(client: &Client, name: &str, out: &mut Vec<u8>) -> Result<()> {
    let it: ContainerStatusResponse =
        client.call("ContainerStatus", &container_id(client, name)?)?;
    let it = it.status.context("no status")?;
    if it.state() == ContainerState::Exited {
        writeln!(out, "{:?} {} {}", it.state(), it.exit_code, it.reason)?;
    } else {
        writeln!(out, "{:?}", it.state())?;
    }
    if !it.message.is_empty() {
        writeln!(out, "{}", it.message)?;
    }
    Ok(())
}

fn exec(
    client: &Client,
    name: &str,
    timeout: i64,
    command: &[&str],
    out: &mut Vec<u8>,
) -> Result<u8> {
    let ContainerId { container_id } = container_id(client, name)?;
    let cmd = command.iter().map(|&word| word.to_owned()).collect();
    let request = ExecSyncRequest { container_id, cmd, timeout };
    let it: ExecSyncResponse = client.call("ExecSync", &request)?;
    out.extend(it.stdout);
    std::io::stderr().write_all(&it.stderr)?;
    Ok(u8::try_from(it.exit_code)?)
}

fn pod_stats(client: &Client, name: &str, out: &mut Vec<u8>) -> Result<()> {
    let it: PodSandboxStatsResponse = client.call("PodSandboxStats", &pod_id(client, name)?)?;
    let it = it.stats.and_then(|it| it.linux).context("no statistics")?;
    writeln!(out, "{}", usage(it.cpu.as_ref(), it.memory.as_ref()))?;
    let processes = it.process.and_then(|it| it.process_count).map_or(0, |it| it.value);
    writeln!(out, "containers {}, processes {processes}", it.containers.len())?;
    Ok(())
}

fn usage(cpu: Option<&CpuUsage>, memory: Option<&MemoryUsage>) -> String {
    let number = |it: Option<&UInt64Value>| it.map_or(0, |it| it.value);
    let cpu = cpu.and_then(|it| it.usage_core_nano_seconds.as_ref());
    let memory = memory.and_then(|it| it.working_set_bytes.as_ref());
    format!("cpu {} ns, memory {} bytes", number(cpu), number(memory))
}
