// SPDX-License-Identifier: Apache-2.0
//! signalfd(2): the caller's pending signals, read.
//!
//! Whose signals they are is decided by who reads or polls, not by who made the file, so a forked child
//! reads its own. The thread of each task says who it is by [`set_reader`].

use std::{any::Any, cell::RefCell, fmt, sync::Arc};

use abi::{Errno, SigInfo, SigSet, signal, signalfd::SignalfdSiginfo};
use zerocopy::IntoBytes;

use crate::{
    io::Sink,
    sync::{Mutex, levels},
    vfs::FileOps,
    wait::{Ready, Try, WaitQueue},
};

/// A task, as far as its pending signals go.
pub trait Reader: Send + Sync {
    /// What is pending for it and its process.
    fn pending(&self) -> SigSet;

    /// Takes one of `wanted`, blocked or not.
    fn take(&self, wanted: SigSet) -> Option<SigInfo>;

    /// Who hears of new signals.
    fn queue(&self) -> WaitQueue;
}

thread_local! {
    static READER: RefCell<Option<Arc<dyn Reader>>> = const { RefCell::new(None) };
}

/// Says whose signals this thread reads from now on.
pub fn set_reader(reader: Option<Arc<dyn Reader>>) {
    let before = READER.replace(reader);
    drop(before);
}

fn reader() -> Option<Arc<dyn Reader>> {
    READER.with_borrow(Clone::clone)
}

/// A signalfd's side of its open file.
pub struct SignalFd {
    mask: Mutex<SigSet, levels::Queue>,
    /// Told when the mask changes, and for those without signals.
    queue: WaitQueue,
}

/// Bytes of one signal.
const SIZE: usize = size_of::<SignalfdSiginfo>();

impl SignalFd {
    /// A file that gives the signals in `mask`, but for those that cannot be blocked.
    pub fn new(mask: SigSet) -> SignalFd {
        let mask = mask.difference(SigSet::UNBLOCKABLE);
        SignalFd { mask: Mutex::new(mask), queue: WaitQueue::new() }
    }

    /// Other signals from now on.
    pub fn set_mask(&self, mask: SigSet) {
        *self.mask.lock() = mask.difference(SigSet::UNBLOCKABLE);
        self.queue.notify(Ready::IN);
        if let Some(reader) = reader() {
            reader.queue().notify(Ready::IN);
        }
    }
}

impl FileOps for SignalFd {
    fn is_stream(&self) -> bool {
        true
    }

    fn ignores_seeks(&self) -> bool {
        true
    }

    fn read_at(&self, sink: &mut dyn Sink, _offset: u64) -> Result<Try<usize>, Errno> {
        if sink.remaining() < SIZE {
            return Err(Errno::EINVAL);
        }
        let mask = *self.mask.lock();
        let mut done = 0;
        while sink.remaining() >= SIZE {
            let Some(info) = reader().and_then(|reader| reader.take(mask)) else { break };
            match sink.write(described(&info).as_bytes()) {
                Ok(SIZE) => done += SIZE,
                // The signal is lost, as on Linux.
                Ok(_) | Err(_) if done > 0 => break,
                Ok(_) | Err(_) => return Err(Errno::EFAULT),
            }
        }
        Ok(if done == 0 { Try::WouldBlock } else { Try::Done(done) })
    }

    fn ready(&self) -> Ready {
        let mask = *self.mask.lock();
        let pending = reader().map_or(SigSet::EMPTY, |reader| reader.pending());
        if pending.intersection(mask).is_empty() { Ready::empty() } else { Ready::IN }
    }

    fn wait_queue(&self) -> Option<WaitQueue> {
        Some(reader().map_or_else(|| self.queue.clone(), |reader| reader.queue()))
    }

    fn fdinfo(&self) -> String {
        format!("sigmask:\t{:016x}\n", self.mask.lock().0)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl fmt::Debug for SignalFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignalFd")
    }
}

/// A signal in signalfd's words (`fs/signalfd.c: signalfd_copyinfo`).
fn described(info: &SigInfo) -> SignalfdSiginfo {
    let unsigned = |number: i32| u32::from_ne_bytes(number.to_ne_bytes());
    let low_half = |number: u64| {
        let [a, b, c, d, ..] = number.to_ne_bytes();
        i32::from_ne_bytes([a, b, c, d])
    };
    let mut out = SignalfdSiginfo {
        ssi_signo: unsigned(info.si_signo),
        ssi_errno: info.si_errno,
        ssi_code: info.si_code,
        ..SignalfdSiginfo::default()
    };
    let is_fault = info.si_code > signal::SI_USER
        && info.si_code < signal::SI_KERNEL
        && info.signal().is_some_and(|signal| {
            crate::signal::SYNCHRONOUS.contains(signal) && signal != abi::Signal::SIGSYS
        });
    if info.si_code == signal::SI_TIMER {
        out.ssi_tid = unsigned(info.pid());
        out.ssi_overrun = unsigned(info.overrun());
        out.ssi_ptr = info.value();
        out.ssi_int = low_half(info.value());
    } else if is_fault {
        out.ssi_addr = info.addr();
    } else if info.si_signo == abi::Signal::SIGSYS.raw() && info.si_code == signal::SYS_SECCOMP {
        let (number, arch) = info.syscall();
        out.ssi_call_addr = info.addr();
        out.ssi_syscall = number;
        out.ssi_arch = arch;
    } else {
        out.ssi_pid = unsigned(info.pid());
        out.ssi_uid = info.uid();
        if info.si_signo == abi::Signal::SIGCHLD.raw() && info.si_code > signal::SI_USER {
            let (user, system) = info.times();
            out.ssi_status = info.status();
            out.ssi_utime = user;
            out.ssi_stime = system;
        } else if info.si_code < signal::SI_USER {
            out.ssi_ptr = info.value();
            out.ssi_int = low_half(info.value());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use abi::{Errno, SigInfo, SigSet, Signal, signal::SI_USER, signalfd::SignalfdSiginfo};
    use zerocopy::FromBytes;

    use super::{Reader, SignalFd, set_reader};
    use crate::{
        io::SliceSink,
        signal::Pending,
        sync::{Mutex, levels},
        vfs::FileOps,
        wait::{Ready, Try, WaitQueue},
    };

    #[derive(Default)]
    struct Fake(Mutex<Pending, levels::TaskState>);

    impl Reader for Fake {
        fn pending(&self) -> SigSet {
            self.0.lock().set()
        }
        fn take(&self, wanted: SigSet) -> Option<SigInfo> {
            self.0.lock().take(wanted.complement())
        }
        fn queue(&self) -> WaitQueue {
            WaitQueue::new()
        }
    }

    #[test]
    fn it_gives_what_is_asked_for() {
        let task = Arc::new(Fake::default());
        set_reader(Some(Arc::clone(&task) as Arc<dyn Reader>));
        let file = SignalFd::new(SigSet::of(&[Signal::SIGUSR1, Signal::SIGKILL]));
        for signal in [Signal::SIGUSR2, Signal::SIGUSR1] {
            task.0.lock().push(signal, SigInfo::user(signal, SI_USER, 7, 8), true);
        }
        assert_eq!(file.ready(), Ready::IN);
        let mut room = [0; 300];
        assert_eq!(file.read_at(&mut SliceSink::new(&mut room), 0), Ok(Try::Done(128)));
        let (info, _) = SignalfdSiginfo::read_from_prefix(&room).expect("it fits");
        assert_eq!((info.ssi_signo, info.ssi_pid, info.ssi_uid), (10, 7, 8));
        assert_eq!(file.ready(), Ready::empty());
        assert_eq!(file.read_at(&mut SliceSink::new(&mut room), 0), Ok(Try::WouldBlock));
        assert_eq!(file.read_at(&mut SliceSink::new(&mut [0; 127]), 0), Err(Errno::EINVAL));
        set_reader(None);
    }
}
