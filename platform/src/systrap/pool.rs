// SPDX-License-Identifier: Apache-2.0
//! The zygote, and the fresh stubs that it makes.

use std::{
    os::fd::AsFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use abi::{PAGE_SIZE, UserAddr, UserRange};
use parking_lot::Mutex;
use zerocopy::IntoBytes;

use super::{
    birth::Pending,
    context::SystrapContext,
    filter,
    frame::Frame,
    gate::Gate,
    registry::Registry,
    shared::{BUFFER_OFFSET, CHANNEL_SIZE, OP_MAY_FAIL, Op},
    spares::Spares,
    stub::{self, Birth},
    subprocess::Subprocess,
    thread::{Thread, op},
};
use crate::{
    AddressSpace, Error,
    host::{
        cpu,
        place::{self, Place},
    },
    interrupt::INTERRUPT,
    memory::{
        hostcall::word,
        range::{self, Layout},
    },
    registers::state::StateLayout,
    sys,
};

/// Signals that a guest can cause and the stub handles, and the one that interrupts.
pub(crate) const HANDLED: &[i32] = &[
    libc::SIGSYS,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    INTERRUPT,
];

/// All but SIGSEGV and SIGBUS: a handler may fault when it copies.
const BLOCKED: u64 = !(1 << (libc::SIGSEGV - 1) | 1 << (libc::SIGBUS - 1));

/// How many threads of all stubs may wait for another guest: they are the host's tasks and nobody's.
const RESTING: usize = 64;

/// mseal(2), Linux 6.10.
const SYS_MSEAL: i64 = 462;

/// Whose stubs they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The reaper reaps; without a filter there is no stub.
    Systrap,
    /// Tracers reap; a filter is a second barrier, where the host has them.
    Ptrace,
}

/// What all stubs have in common.
#[derive(Debug)]
pub(crate) struct Fixed {
    pub(crate) kind: Kind,
    /// Where the code is.
    pub(crate) text: u64,
    /// A page of each stub's own, that its guest may scribble on.
    pub(crate) scratch: u64,
    pub(crate) layout: Layout,
    pub(crate) features: u32,
    pub(crate) registry: Arc<Registry>,
    pub(crate) spares: Arc<Spares>,
    /// Stub threads, of all processes, that wait for another guest.
    pub(crate) resting: AtomicUsize,
    /// What stands before clone(2), where the host has such.
    pub(crate) gate: OnceLock<Gate>,
}

impl Fixed {
    fn password(&self) -> u64 {
        self.gate.get().map_or(0, |gate| gate.password)
    }

    /// Whether one more thread may wait for another guest.
    pub(crate) fn take_bed(&self) -> bool {
        let more = |count| (count < RESTING).then_some(count + 1);
        self.resting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }
}

/// How long a sandbox whose zygote was killed may take to end by itself.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Makes stubs.
#[derive(Debug)]
pub(crate) struct Pool {
    fixed: Arc<Fixed>,
    state: Arc<StateLayout>,
    zygote: Mutex<Zygote>,
    /// Dropped last: then the thread that must outlive all stubs ends.
    _alive: mpsc::Sender<()>,
}

#[derive(Debug)]
struct Zygote {
    process: Arc<Subprocess>,
    thread: Arc<Thread>,
    /// The next stub, which it makes in its own time.
    next: Option<Pending>,
}

impl Zygote {
    /// A fresh stub.
    fn take(&mut self) -> Result<(Arc<Subprocess>, Arc<Thread>), Error> {
        match self.take_next() {
            // It was killed while it waited for its turn.
            Ok((process, _)) if process.status().is_some() => self.take_next(),
            Err(error) => {
                tracing::debug!(%error, "another stub is tried");
                self.take_next()
            }
            taken => taken,
        }
    }

    /// The stub that was begun; and the next one is begun.
    fn take_next(&mut self) -> Result<(Arc<Subprocess>, Arc<Thread>), Error> {
        let pending = match self.next.take() {
            Some(pending) => pending,
            None => self.begin()?,
        };
        self.thread.done(0)?;
        let pending = self.process.forked(&self.thread, pending)?;
        // A failure shows when that one is wanted.
        self.next = self.begin().ok();
        pending.meet(&self.process)
    }

    fn begin(&self) -> Result<Pending, Error> {
        self.process.begin_fork(&self.thread, self.process.fixed.password())
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // A stub that nobody waited for would stay: meet it, and let it go.
        if let Some(pending) = self.next.take()
            && self.thread.done(0).is_ok()
            && let Ok(pending) = self.process.forked(&self.thread, pending)
            && let Err(error) = pending.meet(&self.process)
        {
            tracing::warn!(%error, "a stub may be left");
        }
    }
}

impl Pool {
    /// Starts the zygote, and the thread that forks it and reaps it and all others.
    pub(crate) fn start(kind: Kind) -> Result<Arc<Pool>, Error> {
        let host = |call| move |source| Error::Host { call, source };
        place::prepare();
        let layout = range::layout();
        let registry = Arc::new(Registry::default());
        let text_len = range::pages(stub::BLOB.len() as u64);
        let text = place_text(&layout, text_len)?;
        let scratch =
            range::place(&layout, PAGE_SIZE, PAGE_SIZE).map_err(host("draw a random address"))?;
        let features = cpu::features();
        let registry_of_all = Arc::clone(&registry);
        let fixed = Arc::new(Fixed {
            kind,
            text,
            scratch,
            layout,
            features,
            registry: registry_of_all,
            spares: Spares::new(layout, features),
            resting: AtomicUsize::new(0),
            gate: OnceLock::new(),
        });
        let thread = Arc::new(first_thread(&fixed)?);
        let (socket, theirs) = sys::socket_pair().map_err(host("make the zygote's socket"))?;
        prepare(&thread, &fixed, text_len)?;
        let (alive, end) = mpsc::channel();
        let (sender, receiver) = mpsc::sync_channel(1);
        let birth_thread = Arc::clone(&thread);
        // The stubs end with this thread (PR_SET_PDEATHSIG), so it lives as long as any stub.
        thread::Builder::new()
            .name("reaper".into())
            .spawn(move || {
                let born = birth_thread.channel.give_file(|channel| {
                    stub::give_birth(&Birth {
                        text,
                        text_len: usize::try_from(text_len).unwrap_or(0),
                        channel,
                        channel_addr: birth_thread.channel.stub_addr(),
                        socket: theirs.as_fd(),
                        handled: HANDLED,
                        mask: BLOCKED,
                    })
                });
                drop((theirs, birth_thread));
                let started = matches!(born, Some(Ok(_)));
                if sender.send(born).is_ok() && started {
                    match kind {
                        Kind::Systrap => reap_all(&registry),
                        // Would take the tracers' news from them; the tracers reap.
                        Kind::Ptrace => drop(end.recv()),
                    }
                }
            })
            .map_err(host("start the reaper"))?;
        let pid = receiver
            .recv()
            .ok()
            .flatten()
            .ok_or(Error::StubDied { reason: "the reaper is gone" })?
            .map_err(host("fork the zygote"))?;
        thread.bell.name(pid, pid);
        let process = Arc::new(Subprocess::new(&fixed, pid, socket, 0));
        process.add(&thread);
        fixed.registry.register(pid, &process)?;
        // Without it no program can be started any more.
        process.watch(Box::new(|| {
            tracing::error!("the zygote was killed: the sandbox ends");
            // When memory runs out the first program may have been killed as well, and says so.
            let ended = thread::Builder::new().name("end".into()).spawn(|| {
                thread::sleep(LAST_WORDS);
                std::process::abort()
            });
            if ended.is_err() {
                std::process::abort();
            }
        }));
        thread.await_birth(0)?;
        confine(&thread, &fixed, pid, text_len)?;
        let state = Arc::new(StateLayout::of(&thread.channel, Frame::of(&thread.channel)?)?);
        fixed.spares.keep().map_err(host("start the keeper"))?;
        let zygote = Mutex::new(Zygote { process, thread, next: None });
        Ok(Arc::new(Pool { fixed, state, zygote, _alive: alive }))
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.fixed.layout
    }

    /// A fresh stub, which knows nothing of any guest.
    pub(crate) fn take(&self) -> Result<SystrapContext, Error> {
        let (process, thread, state) = self.take_parts()?;
        let initial = Some(state.initial());
        let place = Place::fresh(|| thread.bell.checked_tid());
        Ok(SystrapContext::new(process, thread, &state, initial, place))
    }

    /// The parts of a fresh stub.
    pub(crate) fn take_parts(
        &self,
    ) -> Result<(Arc<Subprocess>, Arc<Thread>, Arc<StateLayout>), Error> {
        let (process, thread) = self.zygote.lock().take()?;
        if self.fixed.kind == Kind::Ptrace {
            // A tracer wants it past its own trap.
            thread.await_birth(0)?;
        }
        Ok((process, thread, Arc::clone(&self.state)))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.fixed.spares.close();
    }
}

/// What the zygote does first, once it is in the stub: forget the sentry, and put on the filter.
fn prepare(thread: &Thread, fixed: &Fixed, text_len: u64) -> Result<(), Error> {
    let (layout, text) = (&fixed.layout, fixed.text);
    let at =
        |start: u64, len: u64| UserRange { start: UserAddr(start), end: UserAddr(start + len) };
    let channel = (thread.channel.stub_addr(), CHANNEL_SIZE as u64);
    let mut kept = vec![at(text, text_len), at(channel.0, channel.1)];
    if let Some(vdso) = layout.vdso {
        kept.push(UserRange { start: vdso.data.start, end: vdso.code.end });
    }
    let mut ops: Vec<Op> = range::gaps(kept)
        .into_iter()
        .map(|gap| op(libc::SYS_munmap, [gap.start.raw(), gap.len(), 0, 0, 0, 0]))
        .collect();
    // Older kernels cannot seal; the filter does not depend on it.
    let mut seal = op(SYS_MSEAL, [text, text_len, 0, 0, 0, 0]);
    seal.number |= OP_MAY_FAIL;
    ops.push(seal);
    ops.push(op(libc::SYS_madvise, [channel.0, channel.1, word(libc::MADV_DONTFORK), 0, 0, 0]));
    ops.push(thread.stack_op());
    if fixed.kind == Kind::Ptrace {
        let protection = word(libc::PROT_READ | libc::PROT_WRITE);
        let flags = word(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE);
        let args = [fixed.scratch, PAGE_SIZE, protection, flags, u64::MAX, 0];
        ops.push(op(libc::SYS_mmap, args));
    }
    thread.set_ops(&ops);
    Ok(())
}

/// Puts the filter on the zygote, before it makes the first stub.
fn confine(thread: &Thread, fixed: &Fixed, pid: i32, text_len: u64) -> Result<(), Error> {
    /// `SECCOMP_SET_MODE_FILTER`.
    const SET_FILTER: u64 = 1;
    /// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
    const NEW_LISTENER: u64 = 8;
    let install = |password: Option<u64>, flags: u64| -> Result<i64, Error> {
        let program = filter::stub(fixed.text, fixed.text + text_len, password)
            .ok_or(Error::StubDied { reason: "its filter cannot be written" })?;
        thread.channel.write_buffer(program.as_bytes());
        let code = thread.channel.stub_addr() + BUFFER_OFFSET as u64;
        let program = thread.scratch(8, &[program.len() as u64, code]);
        thread.run_ops(&[op(libc::SYS_seccomp, [SET_FILTER, flags, program, 0, 0, 0])], 0)?;
        Ok(thread.channel.op_result(0))
    };
    if fixed.kind == Kind::Systrap {
        let mut password = [0; 8];
        sys::random(&mut password)
            .map_err(|source| Error::Host { call: "draw a password", source })?;
        // Never 0, which is what others say.
        let password = u64::from_le_bytes(password) | 1;
        let listener = install(Some(password), NEW_LISTENER)?;
        if listener >= 0 {
            let ours = sys::notify::take_descriptor(pid, listener)
                .map_err(|source| Error::Host { call: "take the gate's descriptor", source })?;
            let fd = listener.cast_unsigned();
            thread.run_ops(&[op(libc::SYS_close, [fd, 0, 0, 0, 0, 0])], 0)?;
            fixed.gate.get_or_init(|| Gate::new(ours, password));
            return Ok(());
        }
        tracing::warn!(
            error = -listener,
            "the host has no notification for a stub's filter: a guest can make host processes"
        );
    }
    let result = install(None, 0)?;
    if result < 0 && fixed.kind == Kind::Systrap {
        return Err(Error::Unsupported {
            feature: "way to confine a stub",
            hint: "systrap needs seccomp filters (CONFIG_SECCOMP_FILTER); try --platform=ptrace",
        });
    }
    Ok(())
}

/// How many random places are tried. One in a thousand is in use.
const DRAWS: usize = 64;

const NO_PLACE: Error = Error::Unsupported {
    feature: "free place for the first stub",
    hint: "random addresses of this process are always in use: is randomization of addresses restricted?",
};

/// A place for the code whose addresses share their upper halves, as the filter wants.
fn place_text(layout: &Layout, len: u64) -> Result<u64, Error> {
    for _ in 0..DRAWS {
        let text = range::place(layout, len, PAGE_SIZE)
            .map_err(|source| Error::Host { call: "draw a random address", source })?;
        // The zygote is a copy of this process, and maps its code before it forgets what was ours.
        if text >> 32 == (text + len) >> 32 && sys::is_free(text, len) {
            return Ok(text);
        }
    }
    Err(NO_PLACE)
}

/// The zygote's thread, whose channel lies where nothing of this process does.
fn first_thread(fixed: &Fixed) -> Result<Thread, Error> {
    for _ in 0..DRAWS {
        let thread = Thread::new(&fixed.layout, fixed.features)?;
        if sys::is_free(thread.channel.stub_addr(), CHANNEL_SIZE as u64) {
            return Ok(thread);
        }
    }
    Err(NO_PLACE)
}

/// How long the reaper sleeps after it has reaped. Where processes end one after the other, each would
/// have to wake it otherwise, which takes 10 µs on its way out.
const BREATH: Duration = Duration::from_millis(1);

fn reap_all(registry: &Registry) {
    let mut waits = true;
    loop {
        match sys::peek_ended_child(waits) {
            Ok(Some(pid)) => {
                registry.ended(pid);
                waits = false;
            }
            Ok(None) if !waits => {
                thread::sleep(BREATH);
                waits = true;
            }
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "stubs cannot be reaped");
                return;
            }
        }
    }
}
