// SPDX-License-Identifier: Apache-2.0
//! Tests of seccomp(2)'s programs without a guest.

use abi::seccomp::{
    BPF_ABS, BPF_ALU, BPF_DIV, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LSH, BPF_MEM, BPF_RET, BPF_ST,
    BPF_W, BPF_X, SECCOMP_RET_KILL_PROCESS,
};

use super::*;

const LOAD: u16 = BPF_LD | BPF_W | BPF_ABS;
const EQUAL: u16 = BPF_JMP | BPF_JEQ | BPF_K;
const RETURN: u16 = BPF_RET | BPF_K;

fn op(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
    SockFilter { code, jt, jf, k }
}

fn run(code: &[SockFilter], number: u64, args: [u64; 6]) -> u32 {
    Program::new(code).unwrap().run(&data(number, 0x1_0000_0002, args))
}

#[test]
fn programs_see_the_call() {
    for (offset, wanted) in [(0, 9), (4, ARCH), (8, 2), (12, 1), (16, 5), (20, 7), (60, 8)] {
        let code = [op(LOAD, 0, 0, offset), op(BPF_RET | abi::seccomp::BPF_A, 0, 0, 0)];
        assert_eq!(run(&code, 9, [7 << 32 | 5, 0, 0, 0, 0, 8 << 32]), wanted, "at {offset}");
    }
    let by_number =
        [op(LOAD, 0, 0, 0), op(EQUAL, 0, 1, 3), op(RETURN, 0, 0, 1), op(RETURN, 0, 0, 2)];
    assert_eq!((run(&by_number, 3, [0; 6]), run(&by_number, 4, [0; 6])), (1, 2));
}

#[test]
fn a_division_by_zero_returns_zero() {
    let code = [op(BPF_ALU | BPF_DIV | BPF_X, 0, 0, 0), op(RETURN, 0, 0, 7)];
    assert_eq!(run(&code, 0, [0; 6]), 0);
}

#[test]
fn what_linux_refuses_is_refused() {
    let end = op(RETURN, 0, 0, 0);
    let bad: &[&[SockFilter]] = &[
        &[],
        &[op(LOAD, 0, 0, 0)],
        &[op(LOAD, 0, 0, 64), end],
        &[op(LOAD, 0, 0, 2), end],
        &[op(LOAD | 8, 0, 0, 0), end],
        &[op(EQUAL, 1, 0, 0), end],
        &[op(EQUAL, 0, 1, 0), end],
        &[op(BPF_JMP, 0, 0, 1), end],
        &[op(BPF_JMP, 0, 0, u32::MAX), end],
        &[op(BPF_ALU | BPF_DIV, 0, 0, 0), end],
        &[op(BPF_ALU | BPF_LSH, 0, 0, 32), end],
        &[op(BPF_LD | BPF_MEM, 0, 0, 0), end],
        &[op(BPF_ST, 0, 0, 16), end],
        // One of the two ways to the load has not stored.
        &[op(EQUAL, 0, 1, 0), op(BPF_ST, 0, 0, 3), op(BPF_LD | BPF_MEM, 0, 0, 3), end],
        &[op(0xffff, 0, 0, 0), end],
    ];
    for code in bad {
        assert_eq!(Program::new(code).unwrap_err(), Errno::EINVAL, "{code:?}");
    }
    let long = vec![end; 4097];
    assert_eq!(Program::new(&long).unwrap_err(), Errno::EINVAL);
    assert!(Program::new(&long[1..]).is_ok());
    let stored = [op(BPF_ST, 0, 0, 3), op(BPF_LD | BPF_MEM, 0, 0, 3), end];
    assert!(Program::new(&stored).is_ok());
}

#[test]
fn calls_are_decided_in_advance_only_without_their_arguments() {
    let code = [
        op(LOAD, 0, 0, 0),
        op(EQUAL, 1, 0, 10),
        op(EQUAL, 1, 3, 11),
        op(LOAD, 0, 0, 16),
        op(RETURN, 0, 0, SECCOMP_RET_ALLOW),
        op(RETURN, 0, 0, SECCOMP_RET_ALLOW),
        op(RETURN, 0, 0, SECCOMP_RET_KILL_PROCESS),
    ];
    let allowed = Program::new(&code).unwrap().always_allowed(ARCH, SECCOMP_RET_ALLOW);
    // Number 10 loads an argument, 11 does not, the rest is killed.
    assert!(!allowed.contains(10) && allowed.contains(11) && !allowed.contains(12));
    assert!(!allowed.contains(u64::MAX) && !allowed.contains(512));
}

#[test]
fn all_filters_of_a_task_have_a_limit() {
    let long = vec![op(RETURN, 0, 0, SECCOMP_RET_ALLOW); 4096];
    let mut seccomp = None;
    let mut count = 0;
    loop {
        match with(seccomp.as_ref(), new_filter(&long, false).unwrap()) {
            Ok(more) => seccomp = Some(more),
            Err(errno) => break assert_eq!(errno, Errno::ENOMEM),
        }
        count += 1;
    }
    assert_eq!(count, 7);
}
