// SPDX-License-Identifier: Apache-2.0
//! A guest that attacks the stub and the channel: it may kill itself, and nobody else.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use platform::Exit;

use crate::{
    code,
    guest::{Guest, Host, STACK},
};

/// S1, S3: every number, from code of the guest's own.
pub fn every_call_number_traps(host: &Host) {
    let mut guest = host.guest(code::calls());
    for number in (0..1024).chain(0x4000_0000..0x4000_0400) {
        guest.registers.rax = number;
        match guest.run() {
            // uretprobe and uprobe pass by every seccomp filter. The host answers such as no probe
            // made with SIGILL and ENXIO.
            _ if number == 335 || number == 336 => guest.registers.rip = crate::guest::CODE,
            Exit::Syscall => assert_eq!(guest.registers.orig_rax, number),
            other => panic!("{number}: {other:?}"),
        }
    }
}

/// Start and end of a mapping of the guest's stub that `wanted` is in the line of.
pub fn find(guest: &Guest, wanted: &str) -> Vec<(u64, u64)> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", guest.space.host_pid())).unwrap();
    maps.lines()
        .filter(|line| line.contains(wanted) && !line.contains("[v"))
        .filter_map(|line| {
            let (start, end) = line.split(' ').next()?.split_once('-')?;
            let (start, end) =
                (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
            (start > 0x7e00_0000_0000).then_some((start, end))
        })
        .collect()
}

/// S9: whatever byte of the stub is jumped to, the sentry lives and the others run on.
pub fn jumps_to_every_byte_of_the_stub(host: &Host) {
    let mut bystander = host.guest(code::calls());
    bystander.registers.rax = 500;
    let mut guest = host.guest(code::jump());
    let (start, end) = find(&guest, "r-xp")[0];
    let end = end.min(start + 0x600);
    let (mut fresh, mut survived) = (1, 0);
    for target in start..end {
        guest.registers.rdi = target;
        guest.registers.rsp = STACK - 0x800;
        guest.load(code::jump());
        let (interrupter, over) = (guest.context.interrupter(), Arc::new(AtomicBool::new(false)));
        let is_over = Arc::clone(&over);
        let side = thread::spawn(move || {
            thread::park_timeout(Duration::from_millis(1000));
            // One that came too late would keep the next from running.
            if !is_over.load(Ordering::SeqCst) {
                interrupter.interrupt();
            }
        });
        let exit = guest.context.switch(&mut guest.registers).unwrap();
        over.store(true, Ordering::SeqCst);
        side.thread().unpark();
        side.join().unwrap();
        if matches!(exit, Exit::Died(_)) {
            guest = host.guest(code::jump());
            fresh += 1;
            // The stub lies where it lay: all have the zygote's.
            assert_eq!(find(&guest, "r-xp")[0].0, start);
        } else {
            survived += 1;
            guest.registers.eflags = 0x202;
        }
        if target % 64 == 0 {
            assert_eq!(bystander.call(), 500);
            bystander.registers.rax = 500;
        }
    }
    assert!(survived > 0 && fresh < 1500, "{survived} {fresh}");
    assert_eq!(bystander.call(), 500);
}

/// S13 to S15: a sibling writes noise, zeroes and ones over all channels while a thread makes calls.
pub fn a_sibling_scribbles_over_the_channel(host: &Host) {
    for pattern in [None, Some(0), Some(u64::MAX), Some(2), Some(0x7f)] {
        for part in [0..0x1000_u64, 0x1000..0x2000, 0x1_2000..0x2_0000, 0..0x2_0000, 0..64, 64..128]
        {
            let mut guest = host.guest(code::calls());
            guest.call();
            let context = guest.context.spawn_thread().unwrap();
            let mut sibling = guest.beside(context);
            let targets = match host.platform.name() {
                "systrap" => find(&guest, "memfd:channel"),
                _ => find(&guest, "rw-p"),
            };
            assert!(!targets.is_empty());
            let target = targets[0].0;
            // Beyond the calls at the start of the page.
            let at = crate::guest::CODE + 0x1000;
            let code = if pattern.is_some() { code::fill() } else { code::scribble() };
            guest.context.write(abi::UserAddr(at), code);
            sibling.registers.rip = at;
            sibling.registers.rdi = target + part.start;
            sibling.registers.rsi = (part.end - part.start) / 8;
            if let Some(pattern) = pattern {
                sibling.registers.rsi = pattern;
                sibling.registers.rcx = (part.end - part.start) / 8;
            }
            let space = guest.space.clone();
            // A guest that broke its own hand-over waits for ever, as it deserves.
            let watched = space.clone();
            let watchdog = thread::spawn(move || {
                thread::park_timeout(Duration::from_millis(700));
                watched.kill();
            });
            let noise = thread::spawn(move || sibling.context.switch(&mut sibling.registers));
            for round in 0..20_000_u64 {
                guest.registers.rax = round % 400;
                match guest.context.switch(&mut guest.registers) {
                    Ok(Exit::Died(_)) | Err(_) => break,
                    Ok(_) => {}
                }
                if round % 64 == 0 {
                    let _ = guest.context.write(abi::UserAddr(crate::guest::DATA), &[1; 64]);
                    let _ = guest.context.read(abi::UserAddr(crate::guest::DATA), &mut [1; 64]);
                    let _ = guest.context.extended_state();
                }
                if round % 512 == 0 {
                    let _ = guest.context.unmap(crate::guest::range(0x500_0000, 0x1000));
                    let _ = guest.context.fork();
                }
                guest.registers.rip = crate::guest::CODE;
            }
            space.kill();
            watchdog.thread().unpark();
            watchdog.join().unwrap();
            assert!(matches!(noise.join().unwrap(), Ok(Exit::Died(_)) | Ok(Exit::Fault(_))));
        }
    }
    let mut guest = host.guest(code::calls());
    guest.call();
}

/// S16: nothing that a context can be told reaches the stub's own pages, and the guest cannot change
/// its code.
pub fn the_stubs_memory_is_not_the_guests(host: &Host) {
    let mut guest = host.guest(code::store());
    let (start, _) = find(&guest, "r-xp")[0];
    guest.registers.rdi = start;
    let fault = guest.fault();
    assert_eq!((fault.signal, fault.code), (libc::SIGSEGV, 2));
    let at = abi::UserAddr(start);
    assert_eq!(guest.context.write(at, &[0x90; 16]), 0);
    assert_eq!(guest.context.read(at, &mut [0; 16]), 0);
    assert_eq!(guest.space.write(at, &[0x90; 16]), 0);
    assert_eq!(guest.space.read(at, &mut [0; 16]), 0);
    assert_eq!(guest.space.poke(at, &[0x90; 16]), 0);
    let range = crate::guest::range(start, 0x1000);
    assert!(guest.context.unmap(range).is_err());
    assert!(guest.context.protect(range, platform::Protection::all()).is_err());
    assert!(guest.context.advise(range, libc::MADV_DONTNEED).is_err());
    guest.load(code::calls());
    guest.call();
}

/// A guest that jumps to the stub's clone makes no host process and no host thread.
pub fn no_clone_of_the_guests_own(host: &Host) {
    let host = &host.alone();
    let mut guest = host.guest(code::calls());
    guest.call();
    let (start, end) = find(&guest, "r-xp")[0];
    let mut text = vec![0; (end - start) as usize];
    let memory = fs::File::open(format!("/proc/{}/mem", guest.space.host_pid())).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&memory, &mut text, start).unwrap();
    // `syscall; int3`
    let gadget = text.windows(3).position(|bytes| bytes == [0x0f, 0x05, 0xcc]).unwrap();
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM;
    for flags in [libc::CLONE_PARENT | libc::SIGCHLD, flags, libc::SIGCHLD, libc::CLONE_VM] {
        // Those of an earlier test may be going only now.
        crate::life::eventually(|| crate::life::guests() == 1);
        guest.registers.rip = start + gadget as u64;
        (guest.registers.rax, guest.registers.rdi) = (56, flags as u64);
        (guest.registers.rsi, guest.registers.r8) = (STACK - 0x100, 0);
        let (interrupter, over) = (guest.context.interrupter(), AtomicBool::new(false));
        let exit = thread::scope(|scope| {
            scope.spawn(|| {
                // The first may come before it has jumped.
                while !over.load(Ordering::SeqCst) {
                    thread::park_timeout(Duration::from_millis(100));
                    interrupter.interrupt();
                }
            });
            let mut exit = guest.context.switch(&mut guest.registers).unwrap();
            while exit == Exit::Interrupted && guest.registers.rip == start + gadget as u64 {
                exit = guest.context.switch(&mut guest.registers).unwrap();
            }
            over.store(true, Ordering::SeqCst);
            exit
        });
        match exit {
            // It waited at the gate.
            Exit::Interrupted => {}
            Exit::Syscall => assert_eq!(guest.registers.orig_rax, 56),
            Exit::Fault(fault) => {
                assert_eq!(fault.signal, libc::SIGTRAP);
                assert!((guest.registers.rax as i64) < 0);
            }
            Exit::Died(_) => panic!("flags {flags:#x}"),
        }
        let tasks = fs::read_dir(format!("/proc/{}/task", guest.space.host_pid())).unwrap();
        assert_eq!(tasks.count(), 1);
        assert_eq!(crate::life::guests(), 1);
        let _ = guest.context.switch(&mut guest.registers);
    }
    guest.registers.rsp = STACK - 64;
    guest.load(code::calls());
    guest.call();
    // While one waits there, others may be told to.
    let context = guest.context.spawn_thread().unwrap();
    let mut rogue = guest.beside(context);
    rogue.registers.rip = start + gadget as u64;
    (rogue.registers.rax, rogue.registers.rdi) = (56, (libc::CLONE_PARENT | libc::SIGCHLD) as u64);
    let space = guest.space.clone();
    let side = thread::spawn(move || rogue.context.switch(&mut rogue.registers));
    thread::sleep(Duration::from_millis(50));
    for _ in 0..20 {
        let context = guest.context.fork().unwrap();
        guest.beside(context).call();
    }
    space.kill();
    let _ = side.join().unwrap();
}
