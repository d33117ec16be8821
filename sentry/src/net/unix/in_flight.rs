// SPDX-License-Identifier: Apache-2.0
//! Files on their way between sockets: counted, bounded, let go without recursion, cycles found.
//!
//! A socket in flight may hold a socket in flight, and so on: dropping the first must not recurse once a
//! level, so what a closing socket held is dropped from a list of the thread's own. Sockets that hold
//! only each other are found by counting, as Linux's `unix_gc()` did: a file all of whose references are
//! in flight, in messages that nobody outside can read, is garbage.

use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use abi::Errno;
use rustc_hash::FxHashMap;

use super::{UnixSocket, inbox::Message};
use crate::{
    net::SocketFile,
    sync::{Mutex, levels},
    vfs::FileDescription,
};

/// Files in flight in the whole sandbox, whoever sent them.
const MAX_IN_FLIGHT: u64 = 1 << 16;
/// Sockets in flight at which cycles are looked for.
const COLLECT_AT: usize = 64;

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Sockets in flight, by the address of their description: how often each one is.
#[derive(Default)]
struct Sockets {
    references: Option<FxHashMap<usize, (std::sync::Weak<FileDescription>, usize)>>,
    collect_at: usize,
}

static SOCKETS: Mutex<Sockets, levels::Leaf> =
    Mutex::new(Sockets { references: None, collect_at: COLLECT_AT });

/// Files in flight, in one message.
#[derive(Debug)]
pub(super) struct Flight {
    files: Vec<Arc<FileDescription>>,
}

impl Flight {
    /// Sends `files` off; `ETOOMANYREFS` beyond `limit` in flight. `None` for no files.
    pub(super) fn take_off(
        files: Vec<Arc<FileDescription>>,
        limit: Option<u64>,
    ) -> Result<Option<Flight>, Errno> {
        if files.is_empty() {
            return Ok(None);
        }
        let added = u64::try_from(files.len()).unwrap_or(u64::MAX);
        let bound = limit.unwrap_or(MAX_IN_FLIGHT).min(MAX_IN_FLIGHT);
        if COUNT.load(Ordering::Relaxed) > bound {
            collect();
            if COUNT.load(Ordering::Relaxed) > bound {
                return Err(Errno::ETOOMANYREFS);
            }
        }
        COUNT.fetch_add(added, Ordering::Relaxed);
        let is_due = {
            let mut sockets = SOCKETS.lock();
            let references = sockets.references.get_or_insert_default();
            for file in files.iter().filter(|file| socket_of(file).is_some()) {
                let entry = references.entry(Arc::as_ptr(file).addr());
                entry.or_insert_with(|| (Arc::downgrade(file), 0)).1 += 1;
            }
            let in_flight = references.len();
            let is_due = in_flight >= sockets.collect_at;
            if is_due {
                sockets.collect_at = (in_flight * 2).max(COLLECT_AT);
            }
            is_due
        };
        let flight = Flight { files };
        if is_due {
            collect();
        }
        Ok(Some(flight))
    }

    /// The files, for a look that leaves them in flight.
    pub(super) fn peek(&self) -> Vec<Arc<FileDescription>> {
        self.files.clone()
    }

    /// They have arrived.
    pub(super) fn land(mut self) -> Vec<Arc<FileDescription>> {
        self.leave();
        std::mem::take(&mut self.files)
    }

    fn leave(&self) {
        if self.files.is_empty() {
            return;
        }
        COUNT.fetch_sub(u64::try_from(self.files.len()).unwrap_or(0), Ordering::Relaxed);
        let mut gone = Vec::new();
        let mut sockets = SOCKETS.lock();
        let Some(references) = &mut sockets.references else { return };
        for file in self.files.iter().filter(|file| socket_of(file).is_some()) {
            let key = Arc::as_ptr(file).addr();
            if let Some(entry) = references.get_mut(&key) {
                entry.1 -= 1;
                if entry.1 == 0 {
                    gone.extend(references.remove(&key));
                }
            }
        }
        // What was a lot once need not become so much again before somebody looks.
        let due = (references.len() * 2).max(COLLECT_AT);
        sockets.collect_at = sockets.collect_at.min(due);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.leave();
        discard(std::mem::take(&mut self.files));
    }
}

fn socket_of(file: &FileDescription) -> Option<Arc<UnixSocket>> {
    let file: &SocketFile = file.ops().as_any().downcast_ref()?;
    Arc::clone(file.socket()).as_any().downcast().ok()
}

/// Something to be dropped later.
#[expect(dead_code, reason = "held only to be dropped")]
enum Trash {
    Files(Vec<Arc<FileDescription>>),
    Messages(VecDeque<Arc<Message>>),
}

struct Bin {
    waiting: Vec<Trash>,
    is_emptying: bool,
}

thread_local! {
    static BIN: RefCell<Bin> = const { RefCell::new(Bin { waiting: Vec::new(), is_emptying: false }) };
}

fn throw(trash: Trash) {
    let is_emptying = BIN.with_borrow_mut(|bin| {
        bin.waiting.push(trash);
        std::mem::replace(&mut bin.is_emptying, true)
    });
    if is_emptying {
        // Whoever empties it further up the stack gets to this too.
        return;
    }
    while let Some(trash) = BIN.with_borrow_mut(|bin| bin.waiting.pop()) {
        drop(trash);
    }
    BIN.with_borrow_mut(|bin| bin.is_emptying = false);
}

/// Drops files without recursion. No lock may be held.
pub(super) fn discard(files: Vec<Arc<FileDescription>>) {
    if !files.is_empty() {
        throw(Trash::Files(files));
    }
}

/// Drops messages without recursion. No lock may be held.
pub(super) fn discard_messages(messages: VecDeque<Arc<Message>>) {
    if !messages.is_empty() {
        throw(Trash::Messages(messages));
    }
}

/// A socket that may be garbage: all references to its file are in flight.
struct Suspect {
    socket: Arc<UnixSocket>,
    /// References that no suspect's messages account for.
    unexplained: usize,
    is_alive: bool,
}

/// Looks for sockets in flight that nobody can reach any more, and empties them.
///
/// What is garbage stays garbage, so no lock is held throughout. A file that is received while this runs
/// has a reference that is not in flight, in one of the two looks; so has one that two threads look at.
fn collect() {
    let snapshot: Vec<(Arc<FileDescription>, usize)> = {
        let sockets = SOCKETS.lock();
        let references = sockets.references.iter().flatten();
        references.filter_map(|(_, (file, count))| Some((file.upgrade()?, *count))).collect()
    };
    let mut suspects: FxHashMap<usize, Suspect> = FxHashMap::default();
    for (file, count) in &snapshot {
        // Our own look is one reference more.
        if Arc::strong_count(file) == count + 1
            && let Some(socket) = socket_of(file)
        {
            let suspect = Suspect { socket, unexplained: *count, is_alive: false };
            suspects.insert(Arc::as_ptr(file).addr(), suspect);
        }
    }
    let mut children: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
    for (key, suspect) in &suspects {
        let held = suspect.socket.files_in_flight();
        let held = held.iter().map(|file| Arc::as_ptr(file).addr());
        children.insert(*key, held.filter(|child| suspects.contains_key(child)).collect());
    }
    for child in children.values().flatten() {
        if let Some(suspect) = suspects.get_mut(child) {
            suspect.unexplained = suspect.unexplained.saturating_sub(1);
        }
    }
    // What somebody outside holds is alive, and so is all that it holds.
    let mut alive: Vec<usize> = suspects
        .iter()
        .filter(|(_, suspect)| suspect.unexplained > 0)
        .map(|(key, _)| *key)
        .collect();
    while let Some(key) = alive.pop() {
        let Some(suspect) = suspects.get_mut(&key) else { continue };
        if std::mem::replace(&mut suspect.is_alive, true) {
            continue;
        }
        alive.extend(children.get(&key).into_iter().flatten());
    }
    for (file, count) in &snapshot {
        let suspect = suspects.get(&Arc::as_ptr(file).addr());
        if let Some(suspect) = suspect.filter(|suspect| !suspect.is_alive)
            && Arc::strong_count(file) == count + 1
        {
            suspect.socket.empty();
        }
    }
    drop(suspects);
    discard(snapshot.into_iter().map(|(file, _)| file).collect());
}
