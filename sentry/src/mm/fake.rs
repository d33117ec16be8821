// SPDX-License-Identifier: Apache-2.0
//! A platform without stubs, for tests: guest memory is a table of pages.

use std::{
    collections::BTreeMap,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use abi::{Errno, PAGE_SIZE, UserAddr, UserRange};
use platform::{
    AddressSpace, Backing, Context, Error, Exit, HostCallError, Interrupter, MapOptions, Platform,
    Protection, Registers, Vdso,
};

use crate::sync::{Mutex, levels};

struct Page {
    protection: Protection,
    bytes: Vec<u8>,
}

/// Pages by number.
#[derive(Default)]
pub(crate) struct FakeSpace {
    pages: Mutex<BTreeMap<u64, Page>, levels::Leaf>,
    /// What the next changes of memory answer instead of happening.
    refusal: AtomicI32,
}

impl std::fmt::Debug for FakeSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeSpace")
    }
}

impl FakeSpace {
    fn copy(
        &self,
        addr: UserAddr,
        len: usize,
        needs: Protection,
        mut each: impl FnMut(&mut [u8], usize),
    ) -> usize {
        let mut pages = self.pages.lock();
        let mut done = 0;
        while done < len {
            let Some(at) = addr.raw().checked_add(done as u64) else { break };
            let Some(page) = pages.get_mut(&(at / PAGE_SIZE)) else { break };
            if !page.protection.contains(needs) {
                break;
            }
            let within = (at % PAGE_SIZE) as usize;
            let count = (PAGE_SIZE as usize - within).min(len - done);
            each(&mut page.bytes[within..within + count], done);
            done += count;
        }
        done
    }

    /// The pages that are mapped, as ranges with their protection.
    pub(crate) fn ranges(&self) -> Vec<(u64, u64, Protection)> {
        let mut ranges: Vec<(u64, u64, Protection)> = Vec::new();
        for (number, page) in self.pages.lock().iter() {
            let start = number * PAGE_SIZE;
            match ranges.last_mut() {
                Some(last) if last.1 == start && last.2 == page.protection => last.1 += PAGE_SIZE,
                _ => ranges.push((start, start + PAGE_SIZE, page.protection)),
            }
        }
        ranges
    }
}

impl AddressSpace for FakeSpace {
    fn read(&self, addr: UserAddr, to: &mut [u8]) -> usize {
        self.copy(addr, to.len(), Protection::READ, |page, at| {
            to[at..at + page.len()].copy_from_slice(page);
        })
    }

    fn write(&self, addr: UserAddr, from: &[u8]) -> usize {
        self.copy(addr, from.len(), Protection::WRITE, |page, at| {
            page.copy_from_slice(&from[at..at + page.len()]);
        })
    }

    fn poke(&self, addr: UserAddr, from: &[u8]) -> usize {
        self.copy(addr, from.len(), Protection::empty(), |page, at| {
            page.copy_from_slice(&from[at..at + page.len()]);
        })
    }

    fn kill(&self) {}

    fn has_ended(&self) -> bool {
        false
    }

    fn host_pid(&self) -> i32 {
        0
    }
}

/// A context that never runs guest code.
#[derive(Debug)]
pub(crate) struct FakeContext {
    pub(crate) fake: Arc<FakeSpace>,
    space: Arc<dyn AddressSpace>,
}

impl FakeContext {
    /// A context in a fresh space.
    pub(crate) fn new() -> FakeContext {
        let fake = Arc::new(FakeSpace::default());
        FakeContext { space: Arc::clone(&fake) as Arc<dyn AddressSpace>, fake }
    }

    /// Makes the next change of memory fail.
    pub(crate) fn refuse_next(&self, errno: Errno) {
        self.fake.refusal.store(errno.raw(), Ordering::Relaxed);
    }

    fn allow(&self) -> Result<(), HostCallError> {
        match Errno::from_raw(self.fake.refusal.swap(0, Ordering::Relaxed)) {
            Some(errno) => Err(HostCallError::Refused(errno)),
            None => Ok(()),
        }
    }
}

fn pages_of(range: UserRange) -> std::ops::Range<u64> {
    assert!(range.start.is_page_aligned() && range.end.is_page_aligned() && !range.is_empty());
    range.start.raw() / PAGE_SIZE..range.end.raw() / PAGE_SIZE
}

impl Context for FakeContext {
    fn switch(&mut self, _registers: &mut Registers) -> Result<Exit, Error> {
        Ok(Exit::Died(9))
    }

    fn interrupter(&self) -> Interrupter {
        Interrupter::new(|| ())
    }

    fn space(&self) -> &Arc<dyn AddressSpace> {
        &self.space
    }

    fn map(
        &mut self,
        range: UserRange,
        protection: Protection,
        backing: Backing<'_>,
        _options: MapOptions,
    ) -> Result<(), HostCallError> {
        self.allow()?;
        let mut pages = self.fake.pages.lock();
        for number in pages_of(range) {
            let mut bytes = vec![0; PAGE_SIZE as usize];
            if let Backing::Private { file, offset } | Backing::Shared { file, offset } = backing {
                let file = std::fs::File::from(file.try_clone_to_owned().expect("an open file"));
                let at = offset + number * PAGE_SIZE - range.start.raw();
                if file.read_at(&mut bytes, at).is_err() {
                    return Err(HostCallError::Refused(Errno::EINVAL));
                }
            }
            pages.insert(number, Page { protection, bytes });
        }
        Ok(())
    }

    fn unmap(&mut self, range: UserRange) -> Result<(), HostCallError> {
        self.allow()?;
        self.fake.pages.lock().retain(|number, _| !pages_of(range).contains(number));
        Ok(())
    }

    fn protect(&mut self, range: UserRange, protection: Protection) -> Result<(), HostCallError> {
        self.allow()?;
        for number in pages_of(range) {
            match self.fake.pages.lock().get_mut(&number) {
                Some(page) => page.protection = protection,
                None => return Err(HostCallError::Refused(Errno::ENOMEM)),
            }
        }
        Ok(())
    }

    fn remap(&mut self, from: UserRange, to: UserRange, keep: bool) -> Result<(), HostCallError> {
        self.allow()?;
        let mut pages = self.fake.pages.lock();
        let mut moved = Vec::new();
        let mut protection = Protection::empty();
        for number in pages_of(from) {
            match pages.remove(&number) {
                Some(page) => {
                    protection = page.protection;
                    moved.push(page.bytes);
                }
                None => return Err(HostCallError::Refused(Errno::EFAULT)),
            }
        }
        if keep {
            for number in pages_of(from) {
                pages.insert(number, Page { protection, bytes: vec![0; PAGE_SIZE as usize] });
            }
        }
        let mut moved = moved.into_iter();
        for number in pages_of(to) {
            let bytes = moved.next().unwrap_or_else(|| vec![0; PAGE_SIZE as usize]);
            pages.insert(number, Page { protection, bytes });
        }
        Ok(())
    }

    fn advise(&mut self, _range: UserRange, _advice: i32) -> Result<(), HostCallError> {
        self.allow()
    }

    fn sync(&mut self, _range: UserRange, _flags: i32) -> Result<(), HostCallError> {
        self.allow()
    }

    fn residency(&mut self, _range: UserRange, to: &mut [u8]) -> Result<(), HostCallError> {
        to.fill(1);
        self.allow()
    }

    fn membarrier(&mut self, _command: i32, _flags: u32) -> Result<i32, HostCallError> {
        Ok(0)
    }

    fn read(&mut self, addr: UserAddr, to: &mut [u8]) -> usize {
        self.fake.read(addr, to)
    }

    fn write(&mut self, addr: UserAddr, from: &[u8]) -> usize {
        self.fake.write(addr, from)
    }

    fn spawn_thread(&mut self) -> Result<Box<dyn Context>, Error> {
        Ok(Box::new(FakeContext { fake: Arc::clone(&self.fake), space: Arc::clone(&self.space) }))
    }

    fn fork(&mut self) -> Result<Box<dyn Context>, Error> {
        let child = FakeContext::new();
        let copy = |page: &Page| Page { protection: page.protection, bytes: page.bytes.clone() };
        let pages: Vec<_> =
            self.fake.pages.lock().iter().map(|(number, page)| (*number, copy(page))).collect();
        child.fake.pages.lock().extend(pages);
        Ok(Box::new(child))
    }

    fn extended_state(&mut self) -> Result<Vec<u8>, Error> {
        Ok(Vec::new())
    }

    fn set_extended_state(&mut self, _state: &[u8]) -> Result<(), HostCallError> {
        Ok(())
    }

    fn reset_extended_state(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn exit(self: Box<Self>) {}
}

/// Hands out [`FakeContext`]s.
#[derive(Debug)]
pub(crate) struct FakePlatform;

/// What a fake guest may use.
pub(crate) const FAKE_RANGE: UserRange =
    UserRange { start: UserAddr(0x1_0000), end: UserAddr(0x7f00_0000_0000) };

impl Platform for FakePlatform {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn new_address_space(&self) -> Result<(Arc<dyn AddressSpace>, Box<dyn Context>), Error> {
        let context = FakeContext::new();
        Ok((Arc::clone(&context.space), Box::new(context)))
    }

    fn user_range(&self) -> UserRange {
        FAKE_RANGE
    }

    fn vdso(&self) -> Option<Vdso> {
        None
    }
}
