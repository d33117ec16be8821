// SPDX-License-Identifier: Apache-2.0
//! Registers and how calls arrive.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use abi::{Errno, UserAddr};
use platform::{Exit, HostCallError};

use crate::{
    code,
    guest::{CODE, DATA, Host},
};

pub fn a_call_carries_all_registers(host: &Host) {
    let mut guest = host.guest(code::calls());
    let r = &mut guest.registers;
    (r.rax, r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9) = (39, 1, 2, 3, 4, 5, u64::MAX);
    (r.rbx, r.rbp, r.r12, r.r13, r.r14, r.r15) = (10, 11, 12, 13, 14, 15);
    assert_eq!(guest.call(), 39);
    let r = guest.registers;
    assert_eq!(r.syscall_args(), [1, 2, 3, 4, 5, u64::MAX]);
    assert_eq!([r.rbx, r.rbp, r.r12, r.r13, r.r14, r.r15], [10, 11, 12, 13, 14, 15]);
    assert_eq!(r.rip, CODE + 2);
    assert_eq!(r.rcx, r.rip);
    assert_eq!((r.cs, r.ss), (0x33, 0x2b));
}

pub fn registers_survive_a_call(host: &Host) {
    let mut guest = host.guest(code::calls());
    guest.registers.rax = 1000;
    for round in 0..100_u64 {
        let mut wanted = guest.registers;
        wanted.rbx = round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        wanted.r12 = !wanted.rbx;
        wanted.r15 = wanted.rbx.rotate_left(17);
        wanted.rax = 1000 + round;
        wanted.rdi = wanted.rbx;
        wanted.eflags = 0x202 | 0x0cd5 & !0x100;
        guest.registers = wanted;
        assert_eq!(guest.call(), 1000 + round);
        let got = guest.registers;
        assert_eq!(
            (got.rbx, got.r12, got.r15, got.rdi, got.rsp, got.rbp),
            (wanted.rbx, wanted.r12, wanted.r15, wanted.rdi, wanted.rsp, wanted.rbp)
        );
        assert_eq!(got.eflags, wanted.eflags);
    }
}

pub fn vector_registers_survive_a_call(host: &Host) {
    let wide = std::arch::is_x86_feature_detected!("avx512bw");
    let mut guest = host.guest(if wide { code::vectors512() } else { code::vectors256() });
    let pattern: Vec<u8> = (0..328_u32).map(|i| (i.wrapping_mul(167) >> 3) as u8).collect();
    guest.context.write(UserAddr(DATA), &pattern);
    (guest.registers.rsi, guest.registers.rdi) = (DATA, DATA + 0x1000);
    guest.call();
    // What the host does meanwhile must not shine through.
    let _ = std::hint::black_box((0..1000).map(f64::from).sum::<f64>());
    guest.call();
    let mut got = vec![0; 328];
    guest.context.read(UserAddr(DATA + 0x1000), &mut got);
    if wide {
        assert_eq!(got, pattern);
        assert_eq!(f64::from_bits(guest.word(DATA + 0x1000 + 328)), std::f64::consts::PI);
        assert_eq!(f64::from_bits(guest.word(DATA + 0x1000 + 336)), 1.0);
    } else {
        assert_eq!(got[..32], pattern[..32]);
    }
}

pub fn extended_state_can_be_read_and_set(host: &Host) {
    let mut guest = host.guest(code::xmm());
    guest.put(DATA, 0x1122_3344_5566_7788);
    (guest.registers.rsi, guest.registers.rdi) = (DATA, DATA + 64);
    guest.call();
    let mut state = guest.context.extended_state().unwrap();
    assert_eq!(state[160..168], 0x1122_3344_5566_7788_u64.to_le_bytes());
    state[160] = 0xee;
    guest.context.set_extended_state(&state).unwrap();
    guest.call();
    assert_eq!(guest.word(DATA + 64), 0x1122_3344_5566_77ee);
    // Only the legacy part, as an old program's frame has it.
    state[161] = 0xdd;
    state[464..512].fill(0);
    guest.context.set_extended_state(&state[..512]).unwrap();
    guest.load(code::xmm_store());
    guest.call();
    assert_eq!(guest.word(DATA + 64), 0x1122_3344_5566_ddee);
    guest.context.reset_extended_state().unwrap();
    guest.load(code::xmm_store());
    guest.call();
    assert_eq!(guest.word(DATA + 64), 0);
    assert_eq!(guest.word(DATA + 64 + 32), 0x37f_0000_1f80);
}

pub fn bad_extended_state_is_refused(host: &Host) {
    let mut guest = host.guest(code::calls());
    guest.call();
    let good = guest.context.extended_state().unwrap();
    let refused = |guest: &mut crate::guest::Guest, state: &[u8]| {
        let result = guest.context.set_extended_state(state);
        assert!(matches!(result, Err(HostCallError::Refused(Errno::EINVAL))), "{result:?}");
    };
    refused(&mut guest, &[]);
    refused(&mut guest, &good[..511]);
    for (at, value) in [(27, 0x80), (512 + 7, 0x80), (520 + 7, 0x80), (530, 1)] {
        let mut bad = good.clone();
        bad[at] |= value;
        refused(&mut guest, &bad);
    }
    guest.context.set_extended_state(&good).unwrap();
    guest.call();
    // Sizes that lie are taken for the legacy part alone, as Linux does.
    for size in [0_u32, 1, 575, u32::MAX] {
        let mut odd = good.clone();
        odd[480..484].copy_from_slice(&size.to_le_bytes());
        guest.context.set_extended_state(&odd).unwrap();
        guest.call();
    }
}

pub fn a_fresh_guest_sees_no_old_state(host: &Host) {
    for _ in 0..3 {
        let mut guest = host.guest(code::xmm_store());
        guest.registers.rdi = DATA;
        guest.call();
        assert_eq!([0, 8, 16, 24].map(|at| guest.word(DATA + at)), [0; 4]);
        assert_eq!(guest.word(DATA + 32), 0x37f_0000_1f80);
        assert_eq!((guest.registers.fs_base, guest.registers.gs_base), (0, 0));
        guest.put(DATA, u64::MAX);
        guest.registers.rsi = DATA;
        guest.load(code::xmm());
        guest.call();
    }
}

/// New bases hold from the next run on, also when an interrupt comes just before it.
pub fn segment_bases_in_a_storm(host: &Host) {
    let mut guest = host.guest(code::bases());
    guest.put(DATA, 0x77);
    guest.put(DATA + 0x1000, 0x78);
    let interrupter = guest.context.interrupter();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                interrupter.interrupt();
                // The guest is to get somewhere in between.
                thread::sleep(Duration::from_micros(20));
            }
        });
        let wrong = (0..2000).find(|round| {
            let (base, number) = [(DATA, 0x77), (DATA + 0x1000, 0x78)][round % 2];
            (guest.registers.fs_base, guest.registers.gs_base) = (base, DATA);
            guest.registers.rip = CODE;
            guest.call();
            (guest.registers.fs_base, guest.registers.orig_rax) != (base, number)
        });
        over.store(true, Ordering::SeqCst);
        assert_eq!(wrong, None);
    });
}

pub fn segment_bases(host: &Host) {
    let mut guest = host.guest(code::bases());
    guest.put(DATA, 0x77);
    guest.put(DATA + 0x108, 0x88);
    (guest.registers.fs_base, guest.registers.gs_base) = (DATA, DATA + 0x100);
    guest.call();
    assert_eq!(guest.registers.orig_rax, 0x77);
    assert_eq!(guest.registers.rbx, 0x88);
    if std::fs::read_to_string("/proc/cpuinfo").unwrap().contains(" fsgsbase") {
        (guest.registers.rdi, guest.registers.rsi) = (0x1234_5000, 0x6789_a000);
        guest.load(code::write_bases());
        guest.call();
        let r = guest.registers;
        assert_eq!((r.fs_base, r.gs_base), (0x1234_5000, 0x6789_a000));
        guest.registers.fs_base = 0x5000;
        guest.call();
        assert_eq!((guest.registers.orig_rax, guest.registers.rbx), (0x5000, 0x6789_a000));
    }
}

pub fn call_numbers(host: &Host) {
    let mut guest = host.guest(code::calls());
    for number in
        [0, 1 << 31, u64::MAX, (1 << 32) + 39, 1 << 63, 0x4000_0000 | 39, 0x4000_0200, 999]
    {
        guest.registers.rax = number;
        assert_eq!(guest.run(), Exit::Syscall);
        assert_eq!(guest.registers.orig_rax, number, "{number:#x}");
        assert_eq!(guest.registers.rip, CODE + 2);
    }
}

pub fn int_0x80_and_vsyscall(host: &Host) {
    let mut guest = host.guest(code::int80());
    let fault = guest.fault();
    assert_eq!((fault.signal, fault.code, fault.trap_no), (libc::SIGSEGV, 0x80, 13));
    assert_eq!(guest.registers.rip, CODE + 5);
    // time(2) by the vsyscall page: a call like any other (or, without the page, a fault).
    guest.load(code::vsyscall());
    match guest.run() {
        Exit::Syscall => {
            assert_eq!(guest.registers.orig_rax, 201);
            guest.registers.rax = 4711;
            guest.call();
            assert_eq!(guest.registers.rbx, 4711);
        }
        Exit::Fault(fault) => assert_eq!(fault.signal, libc::SIGSEGV),
        other => panic!("{other:?}"),
    }
}

pub fn rdtsc_and_cpuid_work(host: &Host) {
    let mut guest = host.guest(code::time());
    assert_eq!(guest.call(), 39);
}
