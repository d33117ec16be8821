// SPDX-License-Identifier: Apache-2.0
//! Registers, memory, masks and pending signals of a tracee; single steps.

use super::stops::{child, info, next, trace, trace_word};
use crate::kit::{self, Arg as _};

fn registers(pid: i32) -> [u64; 27] {
    let mut registers = [0u64; 27];
    trace(libc::PTRACE_GETREGS as u32, pid, 0, registers.as_mut_ptr().raw()).ok();
    registers
}

fn kill(pid: i32) {
    sys!(kill, pid, libc::SIGKILL).ok();
    show!("end", next(pid));
}

static mut WORD: [u64; 2] = [0x1122_3344_5566_7788, 5];
static FIXED: [u64; 2] = [7, 8];

pub fn memory() {
    let pid = child(|| {
        let value = unsafe { (&raw const WORD).cast::<u64>().read_volatile() };
        i32::from(value != 42)
    });
    let at = (&raw const WORD).raw();
    say!("{:#x}", trace_word(libc::PTRACE_PEEKDATA, pid, at));
    say!("{:#x}", trace_word(libc::PTRACE_PEEKDATA, pid, at + 3));
    let mut word = 0u64;
    let to = (&raw mut word).raw();
    show!("nothing there", trace(libc::PTRACE_PEEKDATA, pid, 8, to));
    show!("nowhere to put it", trace(libc::PTRACE_PEEKDATA, pid, at, 8));
    show!("poke", trace(libc::PTRACE_POKEDATA, pid, at, 42));
    show!("poke nothing", trace(libc::PTRACE_POKEDATA, pid, 8, 42));
    // Through what the program itself may not write.
    let fixed = (&raw const FIXED).raw();
    show!("poke constants", trace(libc::PTRACE_POKETEXT, pid, fixed, 9));
    show!("they are", trace_word(libc::PTRACE_PEEKTEXT, pid, fixed));
    say!("mine are {}", std::hint::black_box(&FIXED)[0]);
    let mem = std::fs::OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"));
    use std::os::unix::fs::FileExt;
    let mem = mem.unwrap();
    let written = mem.write_at(&11u64.to_ne_bytes(), fixed as u64);
    say!("mem: {:?}", written.map_err(|error| error.raw_os_error()));
    let mut bytes = [0u8; 8];
    let read = mem.read_at(&mut bytes, fixed as u64);
    say!("mem: {:?} {}", read.map_err(|error| error.raw_os_error()), u64::from_ne_bytes(bytes));
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("end", next(pid));
}

pub fn general() {
    let pid = child(|| 0);
    let before = registers(pid);
    say!("cs {:#x} ss {:#x} ds {:#x}", before[17], before[20], before[23]);
    show!("user area", trace(libc::PTRACE_PEEKUSER, pid, 4, 0));
    show!("its last word", trace(libc::PTRACE_PEEKUSER, pid, 920, 0));
    show!("beyond", trace(libc::PTRACE_PEEKUSER, pid, 928, 0));
    show!("no register", trace(libc::PTRACE_POKEUSER, pid, 800, 1));
    say!("rip {}", trace_word(libc::PTRACE_PEEKUSER, pid, 16 * 8) == before[16]);
    let bad = [(17, 0x10), (17, 0), (20, 0), (21, 1 << 47), (22, 1 << 62), (23, 0x28)];
    for (index, value) in bad {
        show!(format!("bad {index}"), trace(libc::PTRACE_POKEUSER, pid, index * 8, value));
    }
    show!("flags", trace(libc::PTRACE_POKEUSER, pid, 18 * 8, usize::MAX >> 1));
    say!("{:#x}", registers(pid)[18] & !0x202);
    let mut changed = before;
    changed[5] = 0xbbb;
    show!("all", trace(libc::PTRACE_SETREGS as u32, pid, 0, changed.as_mut_ptr().raw()));
    say!("rbx {:#x}", registers(pid)[5]);
    kill(pid);
}

pub fn sets() {
    let pid = child(|| 0);
    let before = registers(pid);
    let mut bytes = [0u64; 512];
    for (note, len) in [(1usize, 216usize), (1, 8), (1, 7), (1, 4096), (2, 512), (2, 100), (0x202, 4096), (0x202, 576), (0x202, 12), (99, 8)] {
        let mut vector = [bytes.as_mut_ptr().raw(), len];
        let ret = trace(libc::PTRACE_GETREGSET, pid, note, vector.as_mut_ptr().raw());
        let len = if note == 0x202 && vector[1] > 832 { 832 } else { vector[1] };
        say!("{note:#x} {ret} {len}");
    }
    let mut vector = [bytes.as_mut_ptr().raw(), 216];
    trace(libc::PTRACE_GETREGSET, pid, 1, vector.as_mut_ptr().raw()).ok();
    say!("the same {}", bytes[..27] == before);
    bytes[5] = 0x123;
    vector[1] = 48;
    show!("first six", trace(libc::PTRACE_SETREGSET, pid, 1, vector.as_mut_ptr().raw()));
    say!("rbx {:#x} others {}", registers(pid)[5], registers(pid)[6..] == before[6..]);
    // What debuggers read instead of XCR0: x87 and SSE at least.
    let mut vector = [bytes.as_mut_ptr().raw(), 4096];
    trace(libc::PTRACE_GETREGSET, pid, 0x202, vector.as_mut_ptr().raw()).ok();
    say!("features {}", bytes[58] & 3);
    show!("back", trace(libc::PTRACE_SETREGSET, pid, 0x202, vector.as_mut_ptr().raw()));
    vector[1] -= 8;
    show!("not all", trace(libc::PTRACE_SETREGSET, pid, 0x202, vector.as_mut_ptr().raw()));
    kill(pid);
}

pub fn floating_point() {
    // A double in xmm0, seen and changed while the program stands at a breakpoint.
    let (r, w) = kit::pipe();
    let pid = child(|| {
        let mut value = 1.5f64;
        unsafe { std::arch::asm!("int3", inout("xmm0") value) };
        sys!(write, w, &value.to_ne_bytes()[..], 8).ok();
        0
    });
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("breakpoint", format!("{}; {}", next(pid), info(pid, 0)));
    let mut state = [0u8; 512];
    show!("get", trace(libc::PTRACE_GETFPREGS as u32, pid, 0, state.as_mut_ptr().raw()));
    let xmm0 = f64::from_ne_bytes(state[160..168].try_into().unwrap());
    say!("control {:x} mxcsr {:x} xmm0 {xmm0}", state[0], state[24] as u32 + 256 * state[25] as u32);
    state[160..168].copy_from_slice(&2.25f64.to_ne_bytes());
    show!("set", trace(libc::PTRACE_SETFPREGS as u32, pid, 0, state.as_mut_ptr().raw()));
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("end", next(pid));
    let mut bytes = [0u8; 8];
    sys!(read, r, bytes.as_mut_ptr(), 8).ok();
    say!("it has {}", f64::from_ne_bytes(bytes));
}

extern "C" fn nothing(_: i32) {}

pub fn steps() {
    let pid = child(|| {
        let flags: u64;
        unsafe {
            std::arch::asm!(
                "int3", "nop", "inc {0:e}", "mov eax, 39", "syscall", "nop", "pushfq", "pop {0}",
                out(reg) flags, out("rax") _, out("rcx") _, out("r11") _,
            );
        }
        kit::handle(libc::SIGUSR1, nothing, 0);
        kit::ignore(flags);
        unsafe { std::arch::asm!("int3", "nop", "nop") };
        0
    });
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("breakpoint", next(pid));
    let mut rip = registers(pid)[16];
    for name in ["nop", "inc", "mov", "syscall", "nop", "pushfq"] {
        trace(libc::PTRACE_SINGLESTEP, pid, 0, 0).ok();
        let stop = next(pid);
        let now = registers(pid);
        let info = info(pid, 0).replace("from it true", "").replace("from it false", "");
        say!("{name}: {stop}; {info}; on by {} flags {:#x}", now[16] - rip, now[18] & 0x100);
        rip = now[16];
    }
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("breakpoint", next(pid));
    // A step into a handler ends before its first instruction.
    trace(libc::PTRACE_SINGLESTEP, pid, 0, libc::SIGUSR1 as usize).ok();
    show!("step", format!("{}; {}", next(pid), info(pid, pid)));
    say!("in the handler {}", registers(pid)[16] == nothing as *const () as u64);
    trace(libc::PTRACE_SINGLESTEP, pid, 0, 0).ok();
    show!("step", next(pid));
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("end", next(pid));
}

pub fn masks_and_pending_signals() {
    let pid = child(|| 0);
    let mut mask = 0u64;
    let at = (&raw mut mask).raw();
    show!("size", trace(0x420a, pid, 4, at));
    show!("get", trace(0x420a, pid, 8, at));
    say!("{mask:#x}");
    mask = u64::MAX;
    show!("set", trace(0x420b, pid, 8, at));
    trace(0x420a, pid, 8, at).ok();
    say!("{mask:#x}");
    for value in [1usize, 2, 3] {
        let info = [libc::SIGRTMIN(), 0, -1, 0, 4711, 0, value as i32];
        let mut whole = [0i32; 32];
        whole[..7].copy_from_slice(&info);
        sys!(rt_sigqueueinfo, pid, libc::SIGRTMIN(), whole.as_ptr()).ok();
    }
    for (offset, flags, count) in [(0u64, 1u32, 8i32), (1, 1, 1), (5, 1, 1), (0, 0, 8), (0, 2, 8), (0, 1, -1)] {
        let args = [offset, u64::from(flags) | (count as u32 as u64) << 32];
        let mut infos = [[0i32; 32]; 8];
        let ret = trace(libc::PTRACE_PEEKSIGINFO, pid, args.as_ptr().raw(), infos.as_mut_ptr().raw());
        let values: Vec<i32> = infos.iter().take(ret.0.max(0) as usize).map(|info| info[6]).collect();
        say!("peek {offset} {flags} {count}: {ret} {values:?}");
    }
    kill(pid);
}

pub fn information_about_signals() {
    let pid = child(|| {
        extern "C" fn handler(_: i32, info: *mut [i32; 32], _: usize) {
            say!("handler: code {} value {}", unsafe { (*info)[2] }, unsafe { (*info)[6] });
        }
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        for signal in [libc::SIGUSR1, libc::SIGUSR2] {
            unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
        }
        sys!(kill, sys!(getpid).ok(), libc::SIGUSR1).ok();
        sys!(kill, sys!(getpid).ok(), libc::SIGUSR1).ok();
        0
    });
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    next(pid);
    let mut info = [0i32; 32];
    trace(libc::PTRACE_GETSIGINFO, pid, 0, info.as_mut_ptr().raw()).ok();
    (info[2], info[6]) = (-1, 77);
    show!("set", trace(libc::PTRACE_SETSIGINFO, pid, 0, info.as_mut_ptr().raw()));
    trace(libc::PTRACE_CONT, pid, 0, libc::SIGUSR1 as usize).ok();
    next(pid);
    trace(libc::PTRACE_CONT, pid, 0, libc::SIGUSR2 as usize).ok();
    show!("end", next(pid));
}
