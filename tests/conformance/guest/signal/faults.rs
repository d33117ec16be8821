// SPDX-License-Identifier: Apache-2.0
//! Signals that hardware exceptions become.

use crate::kit;

fn fault(label: &str, body: impl FnOnce()) {
    extern "C" fn caught(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        let info = unsafe { &*info };
        let addr = unsafe { info.si_addr() }.addr();
        let addr = match addr {
            0 => "null",
            0x1000..0x2000 => "as used",
            _ => "elsewhere",
        };
        say!("{} code {} address {addr}", kit::signal(signal), info.si_code);
        unsafe { libc::_exit(0) };
    }
    let status = kit::in_child(|| {
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = caught as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
            unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
        }
        say!("{label}");
        body();
        1
    });
    show!("end", kit::status(status));
}

pub fn memory() {
    fault("null", || unsafe {
        std::ptr::null_mut::<u8>().write_volatile(1);
    });
    fault("unmapped", || unsafe {
        std::ptr::without_provenance_mut::<u8>(0x1234).write_volatile(1);
    });
    fault("not canonical", || unsafe {
        std::ptr::without_provenance_mut::<u8>(0x8000_0000_0000_0000).write_volatile(1);
    });
    fault("read-only", || unsafe {
        let text = memory as *const () as *mut u8;
        text.write_volatile(0);
    });
    fault("jump", || {
        let target: fn() = unsafe { std::mem::transmute(0x1500usize) };
        target();
    });
}

pub fn file_mappings() {
    fault("behind the end of the file", || {
        let fd = kit::file("f", b"abc");
        let map = unsafe {
            libc::mmap(std::ptr::null_mut(), 8192, libc::PROT_READ, libc::MAP_SHARED, fd, 0)
        };
        let byte = unsafe { map.cast::<u8>().add(4096).read_volatile() };
        say!("read {byte}");
    });
}

#[cfg(target_arch = "x86_64")]
pub fn instructions() {
    use std::arch::asm;
    fault("ud2", || unsafe { asm!("ud2") });
    fault("int3", || unsafe { asm!("int3") });
    fault("hlt", || unsafe { asm!("hlt") });
    fault("divide", || unsafe {
        asm!("xor ecx, ecx", "mov eax, 1", "cdq", "idiv ecx", out("eax") _, out("ecx") _, out("edx") _);
    });
    fault("int 3 as two bytes", || unsafe { asm!(".byte 0xcd, 0x03") });
    fault("trap flag", || unsafe {
        asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop");
    });
}

pub fn blocked_and_ignored_faults_kill() {
    let status = kit::in_child(|| {
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_IGN) };
        unsafe { std::ptr::null_mut::<u8>().write_volatile(1) };
        0
    });
    show!("ignored", kit::status(status & 0x7f));
    let status = kit::in_child(|| {
        extern "C" fn never(_: i32) {
            say!("must not run");
        }
        kit::handle(libc::SIGSEGV, never, 0);
        let set = 1u64 << (libc::SIGSEGV - 1);
        sys!(rt_sigprocmask, libc::SIG_BLOCK, &raw const set, 0, 8).ok();
        unsafe { std::ptr::null_mut::<u8>().write_volatile(1) };
        0
    });
    show!("blocked", kit::status(status & 0x7f));
}

pub fn handler_repairs_and_returns() {
    static PAGE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    extern "C" fn repair(_: i32) {
        let page = PAGE.load(std::sync::atomic::Ordering::SeqCst);
        sys!(mprotect, page, 4096, libc::PROT_READ | libc::PROT_WRITE);
    }
    let map = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    PAGE.store(map.addr(), std::sync::atomic::Ordering::SeqCst);
    kit::handle(libc::SIGSEGV, repair, 0);
    unsafe { map.cast::<u8>().write_volatile(7) };
    show!("written", unsafe { map.cast::<u8>().read_volatile() });
}
