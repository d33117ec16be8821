// SPDX-License-Identifier: Apache-2.0
//! Mounts, devices, and paths that are hidden or read-only.
use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;
use tests::oci::bed::Bed;

fn bind(bed: &mut Bed, source: &str, destination: &str, options: &[&str]) -> Result<()> {
    let source = bed.path(source);
    bed.push(
        "/mounts",
        json!({"destination": destination, "type": "bind", "source": source, "options": options}),
    );
    Ok(())
}

/// A directory of the host with a file in it.
fn volume(bed: &mut Bed, options: &[&str]) -> Result<()> {
    fs::create_dir_all(bed.path("volume"))?;
    fs::write(bed.path("volume/file"), "of the host\n")?;
    bind(bed, "volume", "/mnt", options)
}

pub fn a_bind_mount_is_read_and_written(bed: &mut Bed) -> Result<()> {
    volume(bed, &["rbind", "rw"])?;
    bed.prints("cat /mnt/file; echo new >/mnt/new", "of the host\n")?;
    ensure!(fs::read_to_string(bed.path("volume/new"))? == "new\n");
    Ok(())
}

pub fn a_read_only_bind_mount(bed: &mut Bed) -> Result<()> {
    volume(bed, &["rbind", "ro"])?;
    bed.shell("cat /mnt/file; echo x >/mnt/new; echo $?; rm /mnt/file");
    let ended = bed.run()?;
    ensure!(ended.out == "of the host\n1\n" && ended.code != 0, "{ended:?}");
    ensure!(ended.err.contains("Read-only file system"), "{ended:?}");
    ensure!(bed.path("volume/file").exists() && !bed.path("volume/new").exists());
    Ok(())
}

pub fn a_bind_mount_of_one_file(bed: &mut Bed) -> Result<()> {
    fs::write(bed.path("one"), "one file\n")?;
    bind(bed, "one", "/etc/one", &["bind", "ro"])?;
    bed.prints("cat /etc/one; echo x 2>/dev/null >/etc/one || echo refused", "one file\nrefused\n")
}

pub fn a_bind_mount_over_a_file(bed: &mut Bed) -> Result<()> {
    fs::write(bed.path("one"), "other:x:5:\n")?;
    bind(bed, "one", "/etc/group", &["bind"])?;
    bed.prints("cat /etc/group", "other:x:5:\n")
}

pub fn a_missing_destination_is_made(bed: &mut Bed) -> Result<()> {
    fs::create_dir(bed.path("volume"))?;
    bind(bed, "volume", "/not/there/yet", &["bind"])?;
    bed.prints("touch /not/there/yet/f && echo fine", "fine\n")?;
    ensure!(bed.rootfs().join("not/there/yet").is_dir());
    ensure!(bed.path("volume/f").exists());
    Ok(())
}

pub fn a_missing_source(bed: &mut Bed) -> Result<()> {
    bind(bed, "nonexist", "/mnt", &["bind"])?;
    let ended = bed.run()?;
    bed.is_failure(&ended, 1, "nonexist: no such file or directory")
}

pub fn nodev_nosuid_noexec(bed: &mut Bed) -> Result<()> {
    volume(bed, &["bind", "nodev", "nosuid", "noexec"])?;
    fs::copy(bed.rootfs().join("bin/busybox"), bed.path("volume/true"))?;
    let out = bed.output_of("/mnt/true; echo $?; grep ' /mnt ' /proc/mounts")?;
    ensure!(out.starts_with("126\n"), "{out:?}");
    for option in ["nodev", "nosuid", "noexec"] {
        ensure!(out.contains(option), "{option} of {out:?}");
    }
    Ok(())
}

pub fn a_tmpfs(bed: &mut Bed) -> Result<()> {
    bed.push(
        "/mounts",
        json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "mode=700", "size=65536"]}),
    );
    let script = "stat -c %a /scratch; echo x >/scratch/f; cat /scratch/f
        dd if=/dev/zero of=/scratch/big bs=1024 count=128 2>/dev/null || echo full";
    bed.prints(script, "700\nx\nfull\n")?;
    ensure!(!bed.rootfs().join("scratch/f").exists());
    Ok(())
}

pub fn mounts_in_order(bed: &mut Bed) -> Result<()> {
    bed.push("/mounts", json!({"destination": "/a", "type": "tmpfs", "source": "tmpfs"}));
    volume(bed, &["bind"])?;
    bed.set("/mounts/7/destination", json!("/a/b"));
    bed.prints("cat /a/b/file; ls /a", "of the host\nb\n")
}

pub fn a_later_mount_hides_an_earlier(bed: &mut Bed) -> Result<()> {
    volume(bed, &["bind"])?;
    bed.push("/mounts", json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}));
    bed.prints("ls /mnt; echo end", "end\n")
}

pub fn a_destination_through_a_symlink_stays_inside(bed: &mut Bed) -> Result<()> {
    let outside = bed.path("outside");
    fs::create_dir(&outside)?;
    std::os::unix::fs::symlink(&outside, bed.rootfs().join("link"))?;
    volume(bed, &["bind"])?;
    bed.set("/mounts/6/destination", json!("/link/sub"));
    bed.shell("cat /link/sub/file 2>/dev/null; true");
    bed.run()?;
    ensure!(fs::read_dir(&outside)?.count() == 0, "something was made outside of the root");
    Ok(())
}

pub fn proc_is_its_own(bed: &mut Bed) -> Result<()> {
    bed.prints("readlink /proc/self >/dev/null && cat /proc/1/comm; :", "sh\n")
}

pub fn sysfs_is_read_only(bed: &mut Bed) -> Result<()> {
    bed.prints("grep -c ' /sys sysfs ro' /proc/mounts", "1\n")
}

pub fn the_default_devices(bed: &mut Bed) -> Result<()> {
    bed.prints(
        "for d in null zero full random urandom tty; do stat -c '%n %F %a' /dev/$d; done
         for l in fd stdin stdout stderr; do readlink /dev/$l; done",
        "/dev/null character special file 666\n/dev/zero character special file 666\n\
         /dev/full character special file 666\n/dev/random character special file 666\n\
         /dev/urandom character special file 666\n/dev/tty character special file 666\n\
         /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n",
    )
}

pub fn devices_work(bed: &mut Bed) -> Result<()> {
    bed.prints(
        "echo x >/dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c
         echo x 2>/dev/null >/dev/full || echo full",
        "3\n5\nfull\n",
    )
}

pub fn a_device_of_the_configuration(bed: &mut Bed) -> Result<()> {
    bed.set(
        "/linux/devices",
        json!([{"path": "/dev/other-null", "type": "c", "major": 1, "minor": 3,
            "fileMode": 0o640, "uid": 1000, "gid": 7}]),
    );
    bed.prints(
        "stat -c '%F %a %u %g %t:%T' /dev/other-null",
        "character special file 640 1000 7 1:3\n",
    )
}

pub fn masked_files_are_empty(bed: &mut Bed) -> Result<()> {
    bed.push("/linux/maskedPaths", json!("/etc/passwd"));
    bed.prints("cat /etc/passwd; echo end", "end\n")?;
    ensure!(!bed.guest_file("etc/passwd")?.is_empty());
    Ok(())
}

pub fn masked_directories_are_empty(bed: &mut Bed) -> Result<()> {
    bed.push("/linux/maskedPaths", json!("/etc"));
    bed.prints("ls /etc; touch /etc/f 2>/dev/null || echo refused", "refused\n")
}

pub fn a_masked_path_that_is_missing(bed: &mut Bed) -> Result<()> {
    bed.push("/linux/maskedPaths", json!("/no/such/path"));
    bed.prints("echo fine", "fine\n")
}

pub fn read_only_paths(bed: &mut Bed) -> Result<()> {
    bed.push("/linux/readonlyPaths", json!("/home"));
    bed.shell("touch /home/f; touch /tmp/f && echo fine");
    let ended = bed.run()?;
    ensure!(ended.out == "fine\n" && ended.err.contains("Read-only"), "{ended:?}");
    ensure!(!bed.rootfs().join("home/f").exists());
    Ok(())
}

pub fn sysctls_of_proc_are_read_only(bed: &mut Bed) -> Result<()> {
    bed.prints("echo x 2>/dev/null >/proc/sys/kernel/hostname || echo refused", "refused\n")
}

pub fn message_queues_are_mounted(bed: &mut Bed) -> Result<()> {
    bed.prints("grep -c ' /dev/mqueue mqueue ' /proc/mounts", "1\n")
}

pub fn shared_memory_is_mounted(bed: &mut Bed) -> Result<()> {
    bed.prints("stat -c %a /dev/shm; echo x >/dev/shm/f; cat /dev/shm/f", "1777\nx\n")
}

pub fn an_unknown_type_of_mount(bed: &mut Bed) -> Result<()> {
    bed.push("/mounts", json!({"destination": "/mnt", "type": "nosuchfs", "source": "x"}));
    let ended = bed.run()?;
    bed.is_failure(&ended, 1, "nosuchfs|no such device")
}

pub fn the_hosts_file_systems_are_not_named(bed: &mut Bed) -> Result<()> {
    let out = bed.output_of("cat /proc/self/mountinfo; cat /proc/mounts")?;
    ensure!(!out.contains("/run/docker") && !out.contains("/boot"), "{out}");
    Ok(())
}

pub fn sysctl(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel.shmmax": "4096"}));
    bed.prints("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax", "1\n4096\n")
}

pub fn a_sysctl_of_the_host_is_refused(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/sysctl", json!({"vm.swappiness": "10"}));
    let ended = bed.run()?;
    bed.is_failure(&ended, 1, "vm.swappiness")
}
