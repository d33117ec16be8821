// SPDX-License-Identifier: Apache-2.0
//! Resource limits of a thread group.

use abi::{
    Errno,
    resource::{RLIM_INFINITY, RLIM_NLIMITS, Rlimit64},
};

use crate::sync::{Mutex, levels};

const INFINITE: Rlimit64 = Rlimit64 { rlim_cur: RLIM_INFINITY, rlim_max: RLIM_INFINITY };

/// getrlimit(2)'s table.
#[derive(Debug)]
pub struct Rlimits {
    table: Mutex<[Rlimit64; RLIM_NLIMITS], levels::Leaf>,
}

impl Rlimits {
    /// What Linux gives its init (`INIT_RLIMITS`), with room for this many processes and signals.
    pub fn init(processes: u64) -> Rlimits {
        let both = |value| Rlimit64 { rlim_cur: value, rlim_max: value };
        let table = [
            INFINITE,                                                // CPU
            INFINITE,                                                // FSIZE
            INFINITE,                                                // DATA
            Rlimit64 { rlim_cur: 8 << 20, rlim_max: RLIM_INFINITY }, // STACK
            Rlimit64 { rlim_cur: 0, rlim_max: RLIM_INFINITY },       // CORE
            INFINITE,                                                // RSS
            both(processes),                                         // NPROC
            Rlimit64 { rlim_cur: 1024, rlim_max: 1 << 20 },          // NOFILE
            both(8 << 20),                                           // MEMLOCK
            INFINITE,                                                // AS
            INFINITE,                                                // LOCKS
            both(processes),                                         // SIGPENDING
            both(819_200),                                           // MSGQUEUE
            both(0),                                                 // NICE
            both(0),                                                 // RTPRIO
            INFINITE,                                                // RTTIME
        ];
        Rlimits { table: Mutex::new(table) }
    }

    /// A copy that changes by itself.
    pub fn fork(&self) -> Rlimits {
        Rlimits { table: Mutex::new(*self.table.lock()) }
    }

    /// The limit of `resource` (one of `RLIMIT_*`); `EINVAL` if there is no such.
    pub fn get(&self, resource: u32) -> Result<Rlimit64, Errno> {
        let index = usize::try_from(resource).map_err(|_| Errno::EINVAL)?;
        self.table.lock().get(index).copied().ok_or(Errno::EINVAL)
    }

    /// What holds now of `resource`; no limit if there is no such.
    pub fn soft(&self, resource: u32) -> u64 {
        self.get(resource).map_or(RLIM_INFINITY, |limit| limit.rlim_cur)
    }

    /// Sets a limit, after its checks.
    pub fn set(&self, resource: u32, limit: Rlimit64) -> Result<(), Errno> {
        let index = usize::try_from(resource).map_err(|_| Errno::EINVAL)?;
        *self.table.lock().get_mut(index).ok_or(Errno::EINVAL)? = limit;
        Ok(())
    }
}
