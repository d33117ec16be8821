// SPDX-License-Identifier: Apache-2.0
//! Ends, and what is left after them.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use abi::UserAddr;
use platform::Exit;

use crate::{
    code,
    guest::{self, CODE, DATA, Host},
};

pub fn killed_while_running(host: &Host) {
    let mut guest = host.guest(code::spin());
    let context = guest.context.spawn_thread().unwrap();
    let mut other = guest.beside(context);
    let space = guest.space.clone();
    let side = thread::spawn(move || other.context.switch(&mut other.registers).unwrap());
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        space.kill();
        space.kill();
    });
    let start = Instant::now();
    let exit = guest.context.switch(&mut guest.registers).unwrap();
    assert!(matches!(exit, Exit::Died(status) if status & 0x7f == libc::SIGKILL), "{exit:?}");
    let exit = side.join().unwrap();
    assert!(matches!(exit, Exit::Died(status) if status & 0x7f == libc::SIGKILL), "{exit:?}");
    // It would have run for ever.
    assert!(start.elapsed() < Duration::from_secs(20));
    killer.join().unwrap();
    // And it stays so.
    assert!(matches!(guest.context.switch(&mut guest.registers).unwrap(), Exit::Died(_)));
    assert_eq!(guest.space.read(UserAddr(DATA), &mut [0; 8]), 0);
    assert_eq!(guest.space.write(UserAddr(DATA), &[0; 8]), 0);
    assert_eq!(guest.context.read(UserAddr(DATA), &mut [0; 8]), 0);
    assert!(guest.context.fork().is_err());
    assert!(guest.context.spawn_thread().is_err());
    assert!(guest.context.unmap(guest::range(DATA, 0x1000)).is_err());
}

pub fn a_space_that_is_dropped_is_gone(host: &Host) {
    let mut guest = host.guest(code::calls());
    guest.call();
    let pid = guest.space.host_pid();
    assert!(fs::metadata(format!("/proc/{pid}")).is_ok());
    drop(guest);
    eventually(|| fs::metadata(format!("/proc/{pid}")).is_err());
}

/// The processes that this one has to reap.
fn children() -> Vec<PathBuf> {
    let own = std::process::id().to_string();
    let is_ours = |dir: &PathBuf| {
        fs::read_to_string(dir.join("stat")).is_ok_and(|stat| {
            let rest = stat.rsplit(')').next().unwrap();
            rest.split_whitespace().nth(1) == Some(&own)
        })
    };
    fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()).filter(is_ours).collect()
}

/// How many processes have a guest's memory. A stub that waits for its guest, which may come at any
/// time, has none.
pub fn guests() -> usize {
    let code = format!("{CODE:08x}-");
    let has_code = |dir: &PathBuf| {
        fs::read_to_string(dir.join("maps")).is_ok_and(|maps| maps.starts_with(&code))
    };
    children().iter().filter(|dir| has_code(dir)).count()
}

/// What this process and its children hold: processes, descriptors, channels.
fn census() -> [usize; 3] {
    let fds = fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    [children().len(), fds, maps.matches("memfd:channel").count()]
}

/// What `work` leaves behind each time is more after each: that once something is more may be a stock that
/// was not full before.
fn leaves_nothing(mut work: impl FnMut()) {
    let settled = || {
        let mut last = census();
        let mut since = Instant::now();
        eventually(|| {
            let now = census();
            if now != std::mem::replace(&mut last, now) {
                since = Instant::now();
            }
            since.elapsed() > Duration::from_millis(300)
        });
        last
    };
    let mut seen = vec![settled()];
    while seen.len() < 6 {
        work();
        let before = seen[seen.len() - 1];
        let now = settled();
        seen.push(now);
        if now.iter().zip(before).all(|(now, before)| *now <= before) {
            return;
        }
    }
    panic!("more each time: {seen:?}");
}

pub fn nothing_is_left_behind(host: &Host) {
    let host = &host.alone();
    leaves_nothing(|| come_and_go(host, 500));
}

fn come_and_go(host: &Host, count: usize) {
    for round in 0..count {
        let mut guest = host.guest(code::calls());
        guest.call();
        if round % 10 == 0 {
            let context = guest.context.fork().unwrap();
            let mut child = guest.beside(context);
            child.call();
            let context = guest.context.spawn_thread().unwrap();
            let mut other = guest.beside(context);
            other.call();
        }
    }
}

/// A platform that is dropped takes its zygote and its spare stubs along.
pub fn the_platform_itself(host: &Host) {
    let host = &host.alone();
    leaves_nothing(|| {
        for _ in 0..3 {
            let platform = match host.platform.name() {
                "systrap" => platform::systrap::Systrap::new().unwrap(),
                _ => platform::ptrace::Ptrace::new().unwrap(),
            };
            drop(platform.new_address_space().unwrap());
            let (space, context) = platform.new_address_space().unwrap();
            drop(platform);
            drop((space, context));
        }
    });
}

pub fn descriptors(host: &Host) {
    let mut guest = host.guest(code::calls());
    guest.call();
    let context = guest.context.fork().unwrap();
    let mut child = guest.beside(context);
    child.call();
    let context = child.context.fork().unwrap();
    let mut grandchild = child.beside(context);
    grandchild.call();
    for guest in [&guest, &child, &grandchild] {
        let pid = guest.space.host_pid();
        let open: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .map(|entry| fs::read_link(entry.unwrap().path()).unwrap())
            .collect();
        assert_eq!(open.len(), 1, "{open:?}");
        assert!(open[0].to_string_lossy().starts_with("socket:"), "{open:?}");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapPrm:\t0000000000000000"] {
            assert!(status.contains(line), "{line} in {status}");
        }
        // Nothing of ours is in there: the guest's mappings, the stub, its channel, the vDSO.
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let foreign: Vec<_> = maps
            .lines()
            .filter(|line| {
                let start = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
                start > 0x1000_0000
                    && !line.ends_with(']')
                    && !line.contains("r-xp")
                    && !line.contains("memfd:channel")
                    && !line.contains("rw-p 00000000 00:00 0")
            })
            .collect();
        assert!(foreign.is_empty(), "{foreign:?}");
        assert!(maps.lines().count() < 14, "{maps}");
    }
}

pub fn an_idle_guest_costs_nothing(host: &Host) {
    let mut guest = host.guest(code::calls());
    guest.call();
    let ticks = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let rest = stat.rsplit(')').next().unwrap().to_owned();
        let fields: Vec<u64> =
            rest.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        // utime and stime, after the state, which is no number.
        fields[10] + fields[11]
    };
    let switches = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status
            .lines()
            .filter(|line| line.contains("ctxt_switches"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum::<u64>()
    };
    let pid = guest.space.host_pid();
    // On a busy host it may take a while to lie down.
    eventually(|| {
        let before = (ticks(pid), switches(pid));
        thread::sleep(Duration::from_millis(1000));
        (ticks(pid), switches(pid)) == before
    });
    guest.call();
}

pub fn a_guest_runs_where_it_is_moved(host: &Host) {
    let mut guest = host.guest(code::calls());
    guest.registers.rax = 1;
    guest.call();
    let context = guest.context.fork().unwrap();
    let mut child = guest.beside(context);
    thread::spawn(move || {
        for round in 0..10 {
            child.registers.rax = round;
            assert_eq!(child.call(), round);
        }
    })
    .join()
    .unwrap();
    guest.call();
}

pub fn eventually(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "not even after half a minute");
        thread::sleep(Duration::from_millis(20));
    }
}
