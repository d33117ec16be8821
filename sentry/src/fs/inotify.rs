// SPDX-License-Identifier: Apache-2.0
//! inotify(7): what happens to inodes, as a file that is read.

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    fmt::{self, Write},
    sync::{Arc, Weak},
};

use abi::{
    Errno, UserAddr,
    inotify::{InotifyEvent, InotifyMask},
    ioctl::FIONREAD,
};
use rustc_hash::FxHashMap;
use zerocopy::IntoBytes;

use crate::{
    io::Sink,
    sync::{Mutex, levels},
    vfs::{
        Caller, FileOps, Inode,
        notify::{Event, Watcher},
    },
    wait::{Ready, Try, WaitQueue},
};

/// Events that wait for a reader, beyond which they are lost (`fs.inotify.max_queued_events`).
const MAX_EVENTS: usize = 16_384;
/// Watches of one instance (`fs.inotify.max_user_watches` has more, for all of a user's).
const MAX_WATCHES: usize = 65_536;
const HEAD: usize = size_of::<InotifyEvent>();

/// Bits of a watch's mask that say how to watch.
const MANNER: InotifyMask = InotifyMask::ONESHOT.union(InotifyMask::EXCL_UNLINK);

struct Watch {
    /// The watched file is kept, so that its number means it.
    inode: Arc<dyn Inode>,
    mask: InotifyMask,
}

#[derive(PartialEq, Eq)]
struct Queued {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: Box<[u8]>,
}

impl Queued {
    /// The name with its NUL, padded to whole heads.
    fn name_len(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(HEAD) }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let head = InotifyEvent {
            wd: self.watch,
            mask: self.mask,
            cookie: self.cookie,
            len: u32::try_from(self.name_len()).unwrap_or(u32::MAX),
        };
        let mut bytes = head.as_bytes().to_vec();
        bytes.extend_from_slice(&self.name);
        bytes.resize(HEAD + self.name_len(), 0);
        bytes
    }
}

#[derive(Default)]
struct State {
    watches: BTreeMap<i32, Watch>,
    /// The watch of an inode, by its address.
    by_inode: FxHashMap<usize, i32>,
    last_watch: i32,
    events: VecDeque<Queued>,
}

impl State {
    fn push(&mut self, event: Queued) {
        // What just happened and has not been read is not told twice.
        if self.events.back() == Some(&event) {
            return;
        }
        if self.events.len() >= MAX_EVENTS {
            let mask = InotifyMask::Q_OVERFLOW.bits();
            let overflow = Queued { watch: -1, mask, cookie: 0, name: Box::default() };
            if self.events.back() != Some(&overflow) {
                self.events.push_back(overflow);
            }
            return;
        }
        self.events.push_back(event);
    }

    fn remove(&mut self, number: i32) -> Option<Watch> {
        let removed = self.watches.remove(&number)?;
        self.by_inode.remove(&address(&removed.inode));
        Some(removed)
    }

    fn push_ignored(&mut self, watch: i32) {
        let mask = InotifyMask::IGNORED.bits();
        self.push(Queued { watch, mask, cookie: 0, name: Box::default() });
    }
}

fn address(inode: &Arc<dyn Inode>) -> usize {
    Arc::as_ptr(inode).addr()
}

struct Instance {
    own: Weak<Instance>,
    state: Mutex<State, levels::Queue>,
    queue: WaitQueue,
}

impl Instance {
    fn watcher(&self) -> Weak<dyn Watcher> {
        Weak::clone(&self.own) as Weak<dyn Watcher>
    }
}

impl Watcher for Instance {
    fn event(&self, watch: u32, event: Event, cookie: u32, name: Option<&[u8]>) {
        let Ok(number) = i32::try_from(watch) else { return };
        let mut state = self.state.lock();
        let Some(known) = state.watches.get(&number) else { return };
        let is_last = known.mask.contains(InotifyMask::ONESHOT)
            || event.intersects(Event::DELETE_SELF | Event::UNMOUNT);
        let name = Box::from(name.unwrap_or_default());
        state.push(Queued { watch: number, mask: event.bits(), cookie, name });
        let removed = if is_last { state.remove(number) } else { None };
        if removed.is_some() {
            state.push_ignored(number);
        }
        drop(state);
        self.queue.notify(Ready::READABLE);
        if let Some(removed) = removed {
            removed.inode.common().watchers().remove(&self.watcher(), watch);
        }
    }
}

/// An inotify instance's side of its open file.
pub struct Inotify {
    instance: Arc<Instance>,
}

impl Inotify {
    /// An instance that watches nothing.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "nobody wants one by default")]
    pub fn new() -> Inotify {
        Inotify {
            instance: Arc::new_cyclic(|own| Instance {
                own: Weak::clone(own),
                state: Mutex::default(),
                queue: WaitQueue::new(),
            }),
        }
    }

    /// inotify_add_watch(2) with a checked mask: watches `inode`, or changes what its watch tells.
    pub fn watch(&self, inode: &Arc<dyn Inode>, mask: InotifyMask) -> Result<i32, Errno> {
        let wanted = mask & (InotifyMask::ALL_EVENTS | MANNER) | InotifyMask::UNMOUNT;
        let (number, told) = {
            let mut state = self.instance.state.lock();
            let known = state.by_inode.get(&address(inode)).copied();
            match known.and_then(|number| Some((number, state.watches.get_mut(&number)?))) {
                Some(_) if mask.contains(InotifyMask::MASK_CREATE) => return Err(Errno::EEXIST),
                Some((number, watch)) => {
                    let adds = mask.contains(InotifyMask::MASK_ADD);
                    watch.mask = if adds { watch.mask | wanted } else { wanted };
                    (number, watch.mask)
                }
                None => {
                    if state.watches.len() >= MAX_WATCHES {
                        return Err(Errno::ENOSPC);
                    }
                    let number = state.last_watch.checked_add(1).ok_or(Errno::ENOSPC)?;
                    state.last_watch = number;
                    let watch = Watch { inode: Arc::clone(inode), mask: wanted };
                    state.watches.insert(number, watch);
                    state.by_inode.insert(address(inode), number);
                    (number, wanted)
                }
            }
        };
        let watcher = Arc::clone(&self.instance) as Arc<dyn Watcher>;
        // A file's end is always wanted: the watch ends with it.
        let heard = Event::from_bits_truncate((told - InotifyMask::ONESHOT).bits());
        let heard = heard | Event::DELETE_SELF;
        inode.common().watchers().add(&watcher, number.unsigned_abs(), heard);
        Ok(number)
    }

    /// inotify_rm_watch(2).
    pub fn unwatch(&self, number: i32) -> Result<(), Errno> {
        let removed = {
            let mut state = self.instance.state.lock();
            let removed = state.remove(number).ok_or(Errno::EINVAL)?;
            state.push_ignored(number);
            removed
        };
        self.forget(number, &removed);
        self.instance.queue.notify(Ready::READABLE);
        Ok(())
    }

    fn forget(&self, number: i32, watch: &Watch) {
        let watchers = watch.inode.common().watchers();
        watchers.remove(&self.instance.watcher(), number.unsigned_abs());
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        let watches = std::mem::take(&mut self.instance.state.lock().watches);
        for (number, watch) in &watches {
            self.forget(*number, watch);
        }
    }
}

impl FileOps for Inotify {
    fn is_stream(&self) -> bool {
        true
    }

    fn ignores_seeks(&self) -> bool {
        true
    }

    fn read_at(&self, sink: &mut dyn Sink, _offset: u64) -> Result<Try<usize>, Errno> {
        let mut done = 0;
        loop {
            let event = {
                let mut state = self.instance.state.lock();
                let Some(event) = state.events.front() else { break };
                if HEAD + event.name_len() > sink.remaining() {
                    return if done == 0 { Err(Errno::EINVAL) } else { Ok(Try::Done(done)) };
                }
                state.events.pop_front()
            };
            let Some(event) = event else { break };
            let bytes = event.to_bytes();
            match sink.write(&bytes) {
                Ok(put) if put == bytes.len() => done += put,
                Ok(_) | Err(_) => {
                    return if done == 0 { Err(Errno::EFAULT) } else { Ok(Try::Done(done)) };
                }
            }
        }
        Ok(if done == 0 { Try::WouldBlock } else { Try::Done(done) })
    }

    fn ready(&self) -> Ready {
        let is_empty = self.instance.state.lock().events.is_empty();
        if is_empty { Ready::empty() } else { Ready::READABLE }
    }

    fn wait_queue(&self) -> Option<WaitQueue> {
        Some(self.instance.queue.clone())
    }

    fn ioctl(&self, caller: &mut dyn Caller, command: u32, argument: u64) -> Result<u64, Errno> {
        if command != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let bytes: usize = {
            let state = self.instance.state.lock();
            state.events.iter().map(|event| HEAD + event.name_len()).sum()
        };
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        caller.write_memory(UserAddr(argument), &bytes.to_ne_bytes())?;
        Ok(0)
    }

    fn fdinfo(&self) -> String {
        let watches: Vec<(i32, Arc<dyn Inode>, u32)> = {
            let state = self.instance.state.lock();
            let watches = state.watches.iter();
            // Told whether wanted or not, so not shown (`inotify_mark_user_mask()`).
            let shown = |watch: &Watch| (watch.mask - InotifyMask::UNMOUNT).bits();
            watches.map(|(n, watch)| (*n, Arc::clone(&watch.inode), shown(watch))).collect()
        };
        let mut text = String::new();
        for (number, inode, mask) in watches {
            let Ok(attributes) = inode.attributes() else { continue };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "inotify wd:{number:x} ino:{:x} sdev:{:x} mask:{mask:x} ignored_mask:0 ",
                attributes.inode, attributes.device,
            );
        }
        text
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl fmt::Debug for Inotify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inotify")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use abi::{Errno, inotify::InotifyMask};

    use super::Inotify;
    use crate::{
        io::SliceSink,
        vfs::{
            FileKind, FileOps, Inode,
            anon::AnonInode,
            notify::{self, Event},
        },
        wait::Try,
    };

    fn read(file: &Inotify) -> Result<Option<Vec<u8>>, Errno> {
        let mut room = [0; 256];
        Ok(match file.read_at(&mut SliceSink::new(&mut room), 0)? {
            Try::Done(got) => Some(room[..got].to_vec()),
            Try::WouldBlock => None,
        })
    }

    fn word(bytes: &[u8], index: usize) -> u32 {
        u32::from_ne_bytes(bytes[index * 4..index * 4 + 4].try_into().expect("four bytes"))
    }

    #[test]
    fn events_come_with_names_and_coalesce() {
        let directory: Arc<dyn Inode> = Arc::new(AnonInode::new(FileKind::Directory, 0o700, 0, 0));
        let child = AnonInode::new(FileKind::Regular, 0o600, 0, 0);
        let file = Inotify::new();
        assert_eq!(file.watch(&directory, InotifyMask::CREATE), Ok(1));
        assert_eq!(
            file.watch(&directory, InotifyMask::CREATE | InotifyMask::MASK_CREATE),
            Err(Errno::EEXIST)
        );
        for _ in 0..2 {
            notify::name_event(&directory, b"name", &child, Event::CREATE, 0);
        }
        notify::name_event(&directory, b"name", &child, Event::DELETE, 0);
        assert_eq!(file.read_at(&mut SliceSink::new(&mut [0; 31]), 0), Err(Errno::EINVAL));
        let bytes = read(&file).expect("room").expect("an event");
        assert_eq!((bytes.len(), word(&bytes, 0), word(&bytes, 1)), (32, 1, 0x100));
        assert_eq!((word(&bytes, 3), &bytes[16..21]), (16, &b"name\0"[..]));
        assert_eq!(read(&file), Ok(None));
        assert_eq!(file.unwatch(2), Err(Errno::EINVAL));
        assert_eq!(file.unwatch(1), Ok(()));
        let bytes = read(&file).expect("room").expect("an event");
        assert_eq!((bytes.len(), word(&bytes, 1)), (16, 0x8000));
    }
}
