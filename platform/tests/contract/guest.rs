// SPDX-License-Identifier: Apache-2.0
//! A guest under test.

use std::{
    cell::Cell,
    sync::{Arc, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use abi::{UserAddr, UserRange};
use platform::{
    AddressSpace, Backing, Context, Exit, Fault, MapOptions, Platform, Protection, Registers,
};

/// Where code goes.
pub const CODE: u64 = 0x1_0000;
/// Scratch memory for the guest: 64 KiB.
pub const DATA: u64 = 0x20_0000;
/// The end of the stack.
pub const STACK: u64 = 0x40_0000;

/// A platform for the length of a test.
pub struct Host {
    pub platform: Arc<dyn Platform>,
    others: Cell<Option<RwLockReadGuard<'static, ()>>>,
    #[allow(dead_code, reason = "held for its lock")]
    alone: Option<RwLockWriteGuard<'static, ()>>,
}

static OTHERS: RwLock<()> = RwLock::new(());

fn host(platform: &Arc<dyn Platform>) -> Host {
    let others = OTHERS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    Host { platform: Arc::clone(platform), others: Cell::new(Some(others)), alone: None }
}

pub fn systrap() -> Host {
    static PLATFORM: OnceLock<Arc<dyn Platform>> = OnceLock::new();
    host(PLATFORM.get_or_init(|| platform::systrap::Systrap::new().unwrap()))
}

pub fn ptrace() -> Host {
    static PLATFORM: OnceLock<Arc<dyn Platform>> = OnceLock::new();
    host(PLATFORM.get_or_init(|| platform::ptrace::Ptrace::new().unwrap()))
}

impl Host {
    /// Waits for the other tests to end and holds them off.
    pub fn alone(&self) -> Host {
        drop(self.others.take());
        let alone = OTHERS.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        Host { platform: Arc::clone(&self.platform), others: Cell::new(None), alone: Some(alone) }
    }
}

pub struct Guest {
    pub context: Box<dyn Context>,
    pub space: Arc<dyn AddressSpace>,
    pub registers: Registers,
}

pub fn range(start: u64, len: u64) -> UserRange {
    UserRange::new(UserAddr(start), len).unwrap()
}

pub const RW: Protection = Protection::READ.union(Protection::WRITE);
pub const RX: Protection = Protection::READ.union(Protection::EXECUTE);

impl Host {
    /// A guest that will run `code`.
    pub fn guest(&self, code: &[u8]) -> Guest {
        let (space, context) = self.platform.new_address_space().unwrap();
        let mut guest =
            Guest { context, space, registers: Registers::new_program(CODE, STACK - 64) };
        guest.map(CODE, 0x8000, Protection::all());
        guest.map(DATA, 0x1_0000, RW);
        guest.map(STACK - 0x1_0000, 0x1_0000, RW);
        guest.load(code);
        guest
    }
}

impl Guest {
    pub fn map(&mut self, start: u64, len: u64, protection: Protection) {
        let options = MapOptions::empty();
        self.context.map(range(start, len), protection, Backing::Anonymous, options).unwrap();
    }

    /// Replaces the code and starts at its beginning.
    pub fn load(&mut self, code: &[u8]) {
        assert_eq!(self.context.write(UserAddr(CODE), code), code.len());
        self.registers.rip = CODE;
    }

    pub fn run(&mut self) -> Exit {
        // Interrupts may come without a cause.
        loop {
            match self.context.switch(&mut self.registers).unwrap() {
                Exit::Interrupted => {}
                exit => return exit,
            }
        }
    }

    /// Runs to the next call and returns its number.
    pub fn call(&mut self) -> u64 {
        match self.run() {
            Exit::Syscall => self.registers.orig_rax,
            other => panic!("{other:?} at {:#x}", self.registers.rip),
        }
    }

    pub fn fault(&mut self) -> Fault {
        match self.run() {
            Exit::Fault(fault) => fault,
            other => panic!("{other:?} at {:#x}", self.registers.rip),
        }
    }

    pub fn word(&mut self, addr: u64) -> u64 {
        let mut bytes = [0; 8];
        assert_eq!(self.context.read(UserAddr(addr), &mut bytes), 8);
        u64::from_le_bytes(bytes)
    }

    pub fn put(&mut self, addr: u64, value: u64) {
        assert_eq!(self.context.write(UserAddr(addr), &value.to_le_bytes()), 8);
    }

    /// The same program in a child or another thread.
    pub fn beside(&self, context: Box<dyn Context>) -> Guest {
        let space = Arc::clone(context.space());
        Guest { context, space, registers: self.registers }
    }
}
