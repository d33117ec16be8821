// SPDX-License-Identifier: Apache-2.0
//! Host calls made by a tracer in a stub: registers in, one instruction, registers out.

use std::io;

use super::tracee::{Came, Stopped};
use crate::{
    Registers,
    interrupt::{Bell, INTERRUPT},
    registers::{USER_CS, USER_SS},
    sys::ptrace::{Resume, Stop},
    systrap::stub::offset,
};

/// A piece of the stub that makes a call and stops.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gadget {
    start: u64,
    end: u64,
}

impl Gadget {
    /// For any call that comes back once.
    pub(crate) fn call(text: u64) -> Gadget {
        Gadget { start: text + offset::CALL, end: text + offset::CALLED + 1 }
    }

    /// For clone(2): the child goes to park.
    pub(crate) fn clone(text: u64) -> Gadget {
        Gadget { start: text + offset::CALL_CLONE, end: text + offset::CLONED + 1 }
    }
}

/// What became of a stub in a call.
#[derive(Debug)]
pub(crate) enum Done {
    /// It returned this.
    Returned(Stopped, i64),
    /// It is gone, with this wait status.
    Ended(i32),
}

/// Makes call `number` by `gadget`. Interrupts meanwhile are put back into `bell`.
pub(crate) fn call(
    stopped: Stopped,
    gadget: Gadget,
    bell: &Bell,
    number: i64,
    args: [u64; 6],
) -> io::Result<Done> {
    let [rdi, rsi, rdx, r10, r8, r9] = args;
    let registers = Registers {
        rax: number.cast_unsigned(),
        orig_rax: u64::MAX,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        rip: gadget.start,
        // The gadgets use no stack, and there need not be one.
        rsp: 0,
        cs: USER_CS,
        ss: USER_SS,
        eflags: 0x202,
        ..stopped.registers()?
    };
    stopped.set_registers(&registers)?;
    let mut came = stopped.resume(Resume::Running)?.wait()?;
    loop {
        match came {
            Came::Ended(status) => return Ok(Done::Ended(status)),
            Came::Stopped(stopped, Stop::Signal(libc::SIGTRAP)) => {
                let registers = stopped.registers()?;
                if registers.rip == gadget.end {
                    return Ok(Done::Returned(stopped, registers.rax.cast_signed()));
                }
                return Err(io::Error::other("a stub trapped outside of its gadget"));
            }
            Came::Stopped(stopped, Stop::Signal(INTERRUPT)) => {
                bell.ring();
                came = stopped.resume(Resume::Running)?.wait()?;
            }
            Came::Stopped(stopped, Stop::Event) => {
                came = stopped.resume(Resume::Running)?.wait()?;
            }
            Came::Stopped(_, other) => {
                return Err(io::Error::other(format!("a stub stopped in a call: {other:?}")));
            }
        }
    }
}
