// SPDX-License-Identifier: Apache-2.0
//! THE lock list, in the order of taking: a lock may be taken only while all held ones stand above it.

/// The place of a lock in the order of taking.
pub trait Level: 'static {
    /// Position in the list: smaller is taken first.
    const RANK: u16;
    /// The level's name, for the report of a broken order.
    const NAME: &'static str;
}

macro_rules! levels {
    ($($(#[$doc:meta])+ $name:ident)*) => {
        /// Ranks, numbered by the compiler in the order of the list.
        #[allow(clippy::enum_variant_names, reason = "variants repeat the levels' names")]
        #[derive(Clone, Copy)]
        enum Rank { $($name),* }

        $(
            $(#[$doc])+
            #[derive(Debug, Clone, Copy)]
            pub enum $name {}

            impl Level for $name {
                // An enum's discriminant has no other const conversion.
                const RANK: u16 = Rank::$name as u16;
                const NAME: &'static str = stringify!($name);
            }
        )*
    };
}

levels! {
    /// The sandbox's life: start, shutdown, control requests.
    KernelState
    /// Who may exec: one execve(2) per thread group at a time (Linux's `cred_guard_mutex`).
    ExecGuard
    /// The mount tree of a namespace.
    MountTree
    /// One directory rename at a time per file system (Linux's `s_vfs_rename_mutex`).
    Rename
    /// A directory's children, as a file system changes them. Pairs by address.
    Directory
    /// A file description's position.
    FileOffset
    /// A file on its way from the lower to the upper layer of an overlay.
    CopyUp
    /// A file's contents as they change size or place: reads and writes of one file exclude each other.
    FileContent
    /// A terminal: line discipline, foreground group.
    Terminal
    /// A pipe's or a socket's connection state. Pairs by address.
    Endpoint
    /// Which epoll instance watches which: one such addition at a time (Linux's `epnested_mutex`).
    EpollTree
    /// An epoll instance's interest list.
    Epoll
    /// Who exists: tasks, thread groups, process groups, sessions, their ties. Held while one is born or dies.
    TaskSet
    /// The pending signals and the job-control state of a thread group.
    SignalHandlers
    /// The plan of an address space.
    Mappings
    /// A file descriptor table.
    FdTable
    /// Working directory, root and umask.
    FsContext
    /// A task's own changing state.
    TaskState
    /// A dentry's children and name.
    Dentry
    /// Where a mount hangs and what hangs on it.
    MountLinks
    /// An inode's metadata. No user memory, no gofer call, no sleep from here on down.
    InodeState
    /// Record locks, flocks and leases of a file.
    FileLocks
    /// System V and POSIX objects by key.
    IpcTable
    /// One futex bucket. Pairs by address.
    FutexBucket
    /// One timer's setting.
    ArmedTimer
    /// All armed timers.
    Timers
    /// Data in flight: bytes of a pipe, a socket's queue, an eventfd's counter. Pairs by address.
    Queue
    /// Who waits.
    WaitQueue
    /// The ready list of an epoll instance: filled by wake-ups.
    EpollReady
    /// One sleeping thread.
    Sleeper
    /// Nothing is taken under a leaf.
    Leaf
}

#[cfg(test)]
mod tests {
    use super::{Leaf, Level, TaskSet, TaskState};

    #[test]
    fn ranks_follow_the_list() {
        assert!(TaskSet::RANK < TaskState::RANK && TaskState::RANK < Leaf::RANK);
        assert_eq!(Leaf::NAME, "Leaf");
    }
}
