// SPDX-License-Identifier: Apache-2.0
//! THE table: every system call of Linux, what we make of it, and how its arguments are typed.
//!
//! A row is `[x86-64 number / arm64 number] name in module (argument: Type, …) Status;`. `Planned` is
//! `ENOSYS`, logged once a number and counted. Whoever writes the handler `module::name` changes that
//! word to `Full` or `Partial("what is missing")`, and is done: decoding, dispatch, the strace line and
//! `docs/syscalls.md` follow from the row. Calls in `refused` always fail with the errno named there.
//! Rows stand by family, in number order within each.

use abi::{
    DirFd, Errno, Fd, Gid, Mode, Pid, SigInfo, SigSet, Tid, TimerId, Uid, UserAddr, UserCStr,
    UserIn, UserInOut, UserOut,
    cred::{CapUserData, CapUserHeader},
    epoll::{EpollCreateFlags, EpollEvent, EpollOp},
    eventfd::EventfdFlags,
    fcntl::{
        AccessMode, AtFlags, CloseRangeFlags, FallocateMode, FcntlCommand, FileAdvice,
        FlockOperation, OpenFlags, OpenHow, RenameFlags, SpliceFlags, SyncFileRangeFlags, Whence,
    },
    fileattr::FileAttr,
    futex::FutexWaitv,
    inotify::{InotifyInitFlags, InotifyMask},
    ioctl::IoctlRequest,
    ipc::{IpcCommand, MqAttr, Msqid64Ds, Sembuf, Shmid64Ds},
    kcmp::KcmpType,
    membarrier::MembarrierCommand,
    mempolicy::MemoryPolicy,
    mman::{
        Advice, Cachestat, CachestatRange, LockFlags, MapFlags, MemfdFlags, Mlock2Flags, Prot,
        RemapFlags, SyncFlags,
    },
    mount::{
        FsconfigCommand, FsmountFlags, FsopenFlags, FspickFlags, ListmountFlags, MountAttr,
        MountAttrFlags, MountFlags, MountIdRequest, MoveMountFlags, OpenTreeFlags, StatFs,
        UmountFlags, Ustat,
    },
    pidfd::{PidfdFlags, PidfdSignalFlags},
    poll::{PollFd, SigSetWithSize},
    prctl::{ArchPrctlOption, PrctlOption},
    ptrace::PtraceRequest,
    random::GetrandomFlags,
    resource::{Resource, Rlimit64, Rusage, RusageWho},
    rseq::Rseq,
    sched::{CloneArgs, CloneFlags, PriorityWhich, SchedAttr, SchedParam, SchedPolicy},
    seccomp::SeccompOperation,
    signal::{SigAction, SigEvent, SigmaskHow, StackT},
    signalfd::SignalfdFlags,
    socket::{MessageFlags, Mmsghdr, Msghdr, ShutdownHow, SockaddrStorage, SocketFlags},
    stat::{Stat, Statx, StatxMask},
    sysinfo::Sysinfo,
    time::{
        ClockId, IntervalTimer, Itimerspec, Itimerval, TimerFlags, Timespec, Timeval, Timex,
        Timezone, Tms, Utimbuf,
    },
    timerfd::{TimerfdFlags, TimerfdSetFlags},
    uio::{Iovec, RwFlags},
    utsname::NewUtsname,
    wait::{IdType, WaitOptions},
    xattr::{XattrArgs, XattrFlags},
};
use sentry::{kernel::SysResult, task::Current};

use crate::{decode::IntoReg, support, trace};

/// Hands the rows to a macro.
macro_rules! with_table {
    ($callback:ident) => {
        $callback! {
            handled {
                // bytes in and out of open files
                [0 / 63] read in io (fd: Fd, buf: UserOut<u8>, count: usize) Full;
                [1 / 64] write in io (fd: Fd, buf: UserIn<u8>, count: usize) Full;
                [8 / 62] lseek in io (fd: Fd, offset: i64, whence: Whence) Full;
                [17 / 67] pread64 in io (fd: Fd, buf: UserOut<u8>, count: usize, offset: i64) Full;
                [18 / 68] pwrite64 in io (fd: Fd, buf: UserIn<u8>, count: usize, offset: i64) Full;
                [19 / 65] readv in io (fd: Fd, iov: UserIn<Iovec>, iovcnt: u64) Full;
                [20 / 66] writev in io (fd: Fd, iov: UserIn<Iovec>, iovcnt: u64) Full;
                [40 / 71] sendfile in io (out_fd: Fd, in_fd: Fd, offset: UserInOut<i64>, count: usize) Full;
                [74 / 82] fsync in io (fd: Fd) Full;
                [75 / 83] fdatasync in io (fd: Fd) Full;
                [76 / 45] truncate in io (path: UserCStr, length: i64) Full;
                [77 / 46] ftruncate in io (fd: Fd, length: i64) Full;
                [162 / 81] sync in io () Full;
                [187 / 213] readahead in io (fd: Fd, offset: i64, count: usize) Full;
                [221 / 223] fadvise64 in io (fd: Fd, offset: i64, len: i64, advice: FileAdvice) Full;
                [275 / 76] splice in io (fd_in: Fd, off_in: UserInOut<i64>, fd_out: Fd, off_out: UserInOut<i64>, len: usize, flags: SpliceFlags) Full;
                [276 / 77] tee in io (fd_in: Fd, fd_out: Fd, len: usize, flags: SpliceFlags) Full;
                [277 / 84] sync_file_range in io (fd: Fd, offset: i64, nbytes: i64, flags: SyncFileRangeFlags) Full;
                [278 / 75] vmsplice in io (fd: Fd, iov: UserIn<Iovec>, iovcnt: u64, flags: SpliceFlags) Full;
                [285 / 47] fallocate in io (fd: Fd, mode: FallocateMode, offset: i64, len: i64) Full;
                [295 / 69] preadv in io (fd: Fd, iov: UserIn<Iovec>, iovcnt: u64, pos_l: u64, pos_h: u64) Full;
                [296 / 70] pwritev in io (fd: Fd, iov: UserIn<Iovec>, iovcnt: u64, pos_l: u64, pos_h: u64) Full;
                [306 / 267] syncfs in io (fd: Fd) Full;
                [326 / 285] copy_file_range in io (fd_in: Fd, off_in: UserInOut<i64>, fd_out: Fd, off_out: UserInOut<i64>, len: usize, flags: u32) Full;
                [327 / 286] preadv2 in io (fd: Fd, iov: UserIn<Iovec>, iovcnt: u64, pos_l: u64, pos_h: u64, flags: RwFlags) Full;
                [328 / 287] pwritev2 in io (fd: Fd, iov: UserIn<Iovec>, iovcnt: u64, pos_l: u64, pos_h: u64, flags: RwFlags) Full;

                // opening and closing
                [2 / -] open in open (path: UserCStr, flags: OpenFlags, mode: Mode) Full;
                [3 / 57] close in open (fd: Fd) Full;
                [32 / 23] dup in open (oldfd: Fd) Full;
                [33 / -] dup2 in open (oldfd: Fd, newfd: Fd) Full;
                [85 / -] creat in open (path: UserCStr, mode: Mode) Full;
                [257 / 56] openat in open (dirfd: DirFd, path: UserCStr, flags: OpenFlags, mode: Mode) Full;
                [292 / 24] dup3 in open (oldfd: Fd, newfd: Fd, flags: OpenFlags) Full;
                [436 / 436] close_range in open (first: u32, last: u32, flags: CloseRangeFlags) Full;
                [437 / 437] openat2 in open (dirfd: DirFd, path: UserCStr, how: UserIn<OpenHow>, size: usize) Full;

                // what open files are told
                [16 / 29] ioctl in fcntl (fd: Fd, op: IoctlRequest, arg: UserAddr) Full;
                [72 / 25] fcntl in fcntl (fd: Fd, op: FcntlCommand, arg: u64) Partial("leases are refused");
                [73 / 32] flock in fcntl (fd: Fd, op: FlockOperation) Full;

                // what files are
                [4 / -] stat in stat (path: UserCStr, statbuf: UserOut<Stat>) Full;
                [5 / 80] fstat in stat (fd: Fd, statbuf: UserOut<Stat>) Full;
                [6 / -] lstat in stat (path: UserCStr, statbuf: UserOut<Stat>) Full;
                [21 / -] access in stat (path: UserCStr, mode: AccessMode) Full;
                [90 / -] chmod in stat (path: UserCStr, mode: Mode) Full;
                [91 / 52] fchmod in stat (fd: Fd, mode: Mode) Full;
                [92 / -] chown in stat (path: UserCStr, owner: Uid, group: Gid) Full;
                [93 / 55] fchown in stat (fd: Fd, owner: Uid, group: Gid) Full;
                [94 / -] lchown in stat (path: UserCStr, owner: Uid, group: Gid) Full;
                [95 / 166] umask in stat (mask: Mode) Full;
                [132 / -] utime in stat (path: UserCStr, times: UserIn<Utimbuf>) Full;
                [136 / -] ustat in stat (dev: u32, ubuf: UserOut<Ustat>) Full;
                [137 / 43] statfs in stat (path: UserCStr, buf: UserOut<StatFs>) Full;
                [138 / 44] fstatfs in stat (fd: Fd, buf: UserOut<StatFs>) Full;
                [235 / -] utimes in stat (path: UserCStr, times: UserIn<[Timeval; 2]>) Full;
                [260 / 54] fchownat in stat (dirfd: DirFd, path: UserCStr, owner: Uid, group: Gid, flags: AtFlags) Full;
                [261 / -] futimesat in stat (dirfd: DirFd, path: UserCStr, times: UserIn<[Timeval; 2]>) Full;
                [262 / 79] newfstatat in stat (dirfd: DirFd, path: UserCStr, statbuf: UserOut<Stat>, flags: AtFlags) Full;
                [268 / 53] fchmodat in stat (dirfd: DirFd, path: UserCStr, mode: Mode) Full;
                [269 / 48] faccessat in stat (dirfd: DirFd, path: UserCStr, mode: AccessMode) Full;
                [280 / 88] utimensat in stat (dirfd: DirFd, path: UserCStr, times: UserIn<[Timespec; 2]>, flags: AtFlags) Full;
                [332 / 291] statx in stat (dirfd: DirFd, path: UserCStr, flags: AtFlags, mask: StatxMask, statxbuf: UserOut<Statx>) Full;
                [439 / 439] faccessat2 in stat (dirfd: DirFd, path: UserCStr, mode: AccessMode, flags: AtFlags) Full;
                [452 / 452] fchmodat2 in stat (dirfd: DirFd, path: UserCStr, mode: Mode, flags: AtFlags) Full;
                [468 / 468] file_getattr in stat (dirfd: DirFd, path: UserCStr, attr: UserOut<FileAttr>, size: usize, flags: AtFlags) Partial("flags only, of tmpfs and overlays on it");
                [469 / 469] file_setattr in stat (dirfd: DirFd, path: UserCStr, attr: UserIn<FileAttr>, size: usize, flags: AtFlags) Partial("flags only, of tmpfs and overlays on it");

                // names in directories
                [78 / -] getdents in dir (fd: Fd, dirp: UserOut<u8>, count: u32) Full;
                [79 / 17] getcwd in dir (buf: UserOut<u8>, size: usize) Full;
                [80 / 49] chdir in dir (path: UserCStr) Full;
                [81 / 50] fchdir in dir (fd: Fd) Full;
                [82 / -] rename in dir (oldpath: UserCStr, newpath: UserCStr) Full;
                [83 / -] mkdir in dir (path: UserCStr, mode: Mode) Full;
                [84 / -] rmdir in dir (path: UserCStr) Full;
                [86 / -] link in dir (oldpath: UserCStr, newpath: UserCStr) Full;
                [87 / -] unlink in dir (path: UserCStr) Full;
                [88 / -] symlink in dir (target: UserCStr, linkpath: UserCStr) Full;
                [89 / -] readlink in dir (path: UserCStr, buf: UserOut<u8>, bufsiz: i32) Full;
                [133 / -] mknod in dir (path: UserCStr, mode: Mode, dev: u32) Full;
                [161 / 51] chroot in dir (path: UserCStr) Full;
                [217 / 61] getdents64 in dir (fd: Fd, dirp: UserOut<u8>, count: u32) Full;
                [258 / 34] mkdirat in dir (dirfd: DirFd, path: UserCStr, mode: Mode) Full;
                [259 / 33] mknodat in dir (dirfd: DirFd, path: UserCStr, mode: Mode, dev: u32) Full;
                [263 / 35] unlinkat in dir (dirfd: DirFd, path: UserCStr, flags: AtFlags) Full;
                [264 / 38] renameat in dir (olddirfd: DirFd, oldpath: UserCStr, newdirfd: DirFd, newpath: UserCStr) Full;
                [265 / 37] linkat in dir (olddirfd: DirFd, oldpath: UserCStr, newdirfd: DirFd, newpath: UserCStr, flags: AtFlags) Full;
                [266 / 36] symlinkat in dir (target: UserCStr, newdirfd: DirFd, linkpath: UserCStr) Full;
                [267 / 78] readlinkat in dir (dirfd: DirFd, path: UserCStr, buf: UserOut<u8>, bufsiz: i32) Full;
                [316 / 276] renameat2 in dir (olddirfd: DirFd, oldpath: UserCStr, newdirfd: DirFd, newpath: UserCStr, flags: RenameFlags) Full;

                // extended attributes
                [188 / 5] setxattr in xattr (path: UserCStr, name: UserCStr, value: UserIn<u8>, size: usize, flags: XattrFlags) Full;
                [189 / 6] lsetxattr in xattr (path: UserCStr, name: UserCStr, value: UserIn<u8>, size: usize, flags: XattrFlags) Full;
                [190 / 7] fsetxattr in xattr (fd: Fd, name: UserCStr, value: UserIn<u8>, size: usize, flags: XattrFlags) Full;
                [191 / 8] getxattr in xattr (path: UserCStr, name: UserCStr, value: UserOut<u8>, size: usize) Full;
                [192 / 9] lgetxattr in xattr (path: UserCStr, name: UserCStr, value: UserOut<u8>, size: usize) Full;
                [193 / 10] fgetxattr in xattr (fd: Fd, name: UserCStr, value: UserOut<u8>, size: usize) Full;
                [194 / 11] listxattr in xattr (path: UserCStr, list: UserOut<u8>, size: usize) Full;
                [195 / 12] llistxattr in xattr (path: UserCStr, list: UserOut<u8>, size: usize) Full;
                [196 / 13] flistxattr in xattr (fd: Fd, list: UserOut<u8>, size: usize) Full;
                [197 / 14] removexattr in xattr (path: UserCStr, name: UserCStr) Full;
                [198 / 15] lremovexattr in xattr (path: UserCStr, name: UserCStr) Full;
                [199 / 16] fremovexattr in xattr (fd: Fd, name: UserCStr) Full;
                [463 / 463] setxattrat in xattr (dirfd: DirFd, path: UserCStr, at_flags: AtFlags, name: UserCStr, args: UserIn<XattrArgs>, size: usize) Full;
                [464 / 464] getxattrat in xattr (dirfd: DirFd, path: UserCStr, at_flags: AtFlags, name: UserCStr, args: UserIn<XattrArgs>, size: usize) Full;
                [465 / 465] listxattrat in xattr (dirfd: DirFd, path: UserCStr, at_flags: AtFlags, list: UserOut<u8>, size: usize) Full;
                [466 / 466] removexattrat in xattr (dirfd: DirFd, path: UserCStr, at_flags: AtFlags, name: UserCStr) Full;

                // mount trees
                [139 / -] sysfs in mount (option: i32, arg1: u64, arg2: u64) Full;
                [155 / 41] pivot_root in mount (new_root: UserCStr, put_old: UserCStr) Full;
                [165 / 40] mount in mount (source: UserCStr, target: UserCStr, fstype: UserCStr, flags: MountFlags, data: UserAddr) Full;
                [166 / 39] umount2 in mount (target: UserCStr, flags: UmountFlags) Full;
                [428 / 428] open_tree in mount (dirfd: DirFd, path: UserCStr, flags: OpenTreeFlags) Full;
                [429 / 429] move_mount in mount (from_dirfd: DirFd, from_path: UserCStr, to_dirfd: DirFd, to_path: UserCStr, flags: MoveMountFlags) Full;
                [430 / 430] fsopen in mount (fs_name: UserCStr, flags: FsopenFlags) Full;
                [431 / 431] fsconfig in mount (fd: Fd, cmd: FsconfigCommand, key: UserCStr, value: UserAddr, aux: i32) Full;
                [432 / 432] fsmount in mount (fs_fd: Fd, flags: FsmountFlags, attr_flags: MountAttrFlags) Full;
                [433 / 433] fspick in mount (dirfd: DirFd, path: UserCStr, flags: FspickFlags) Full;
                [442 / 442] mount_setattr in mount (dirfd: DirFd, path: UserCStr, flags: AtFlags, attr: UserIn<MountAttr>, size: usize) Partial("no id maps");
                [457 / 457] statmount in mount (request: UserIn<MountIdRequest>, buf: UserOut<u8>, bufsize: usize, flags: u32) Partial("of the caller's namespace only");
                [458 / 458] listmount in mount (request: UserIn<MountIdRequest>, mnt_ids: UserOut<u64>, nr_mnt_ids: usize, flags: ListmountFlags) Partial("of the caller's namespace only");
                [467 / 467] open_tree_attr in mount (dirfd: DirFd, path: UserCStr, flags: OpenTreeFlags, attr: UserIn<MountAttr>, size: usize) Partial("no id maps");

                // pipes
                [22 / -] pipe in pipe (pipefd: UserOut<[i32; 2]>) Full;
                [293 / 59] pipe2 in pipe (pipefd: UserOut<[i32; 2]>, flags: OpenFlags) Full;

                // files without a name
                [319 / 279] memfd_create in memfd (name: UserCStr, flags: MemfdFlags) Partial("no huge pages");

                // waiting for files
                [7 / -] poll in poll (fds: UserInOut<PollFd>, nfds: u32, timeout: i32) Full;
                [23 / -] select in poll (nfds: i32, readfds: UserInOut<u64>, writefds: UserInOut<u64>, exceptfds: UserInOut<u64>, timeout: UserInOut<Timeval>) Full;
                [270 / 72] pselect6 in poll (nfds: i32, readfds: UserInOut<u64>, writefds: UserInOut<u64>, exceptfds: UserInOut<u64>, timeout: UserInOut<Timespec>, sigmask: UserIn<SigSetWithSize>) Full;
                [271 / 73] ppoll in poll (fds: UserInOut<PollFd>, nfds: u32, timeout: UserInOut<Timespec>, sigmask: UserIn<SigSet>, sigsetsize: usize) Full;

                // epoll(7)
                [213 / -] epoll_create in epoll (size: i32) Full;
                [232 / -] epoll_wait in epoll (epfd: Fd, events: UserOut<EpollEvent>, maxevents: i32, timeout: i32) Full;
                [233 / 21] epoll_ctl in epoll (epfd: Fd, op: EpollOp, fd: Fd, event: UserIn<EpollEvent>) Full;
                [281 / 22] epoll_pwait in epoll (epfd: Fd, events: UserOut<EpollEvent>, maxevents: i32, timeout: i32, sigmask: UserIn<SigSet>, sigsetsize: usize) Full;
                [291 / 20] epoll_create1 in epoll (flags: EpollCreateFlags) Full;
                [441 / 441] epoll_pwait2 in epoll (epfd: Fd, events: UserOut<EpollEvent>, maxevents: i32, timeout: UserIn<Timespec>, sigmask: UserIn<SigSet>, sigsetsize: usize) Full;

                // eventfd(2), signalfd(2), timerfd_create(2)
                [282 / -] signalfd in eventfd (fd: Fd, mask: UserIn<SigSet>, sizemask: usize) Full;
                [283 / 85] timerfd_create in eventfd (clockid: ClockId, flags: TimerfdFlags) Full;
                [284 / -] eventfd in eventfd (initval: u32) Full;
                [286 / 86] timerfd_settime in eventfd (fd: Fd, flags: TimerfdSetFlags, new_value: UserIn<Itimerspec>, old_value: UserOut<Itimerspec>) Full;
                [287 / 87] timerfd_gettime in eventfd (fd: Fd, curr_value: UserOut<Itimerspec>) Full;
                [289 / 74] signalfd4 in eventfd (fd: Fd, mask: UserIn<SigSet>, sizemask: usize, flags: SignalfdFlags) Full;
                [290 / 19] eventfd2 in eventfd (initval: u32, flags: EventfdFlags) Full;

                // inotify(7)
                [253 / -] inotify_init in inotify () Full;
                [254 / 27] inotify_add_watch in inotify (fd: Fd, path: UserCStr, mask: InotifyMask) Full;
                [255 / 28] inotify_rm_watch in inotify (fd: Fd, wd: i32) Full;
                [294 / 26] inotify_init1 in inotify (flags: InotifyInitFlags) Full;

                // memory
                [9 / 222] mmap in mm (addr: UserAddr, len: usize, prot: Prot, flags: MapFlags, fd: Fd, offset: u64) Full;
                [10 / 226] mprotect in mm (addr: UserAddr, len: usize, prot: Prot) Full;
                [11 / 215] munmap in mm (addr: UserAddr, len: usize) Full;
                [12 / 214] brk in mm (addr: UserAddr) Full;
                [25 / 216] mremap in mm (old_addr: UserAddr, old_len: usize, new_len: usize, flags: RemapFlags, new_addr: UserAddr) Full;
                [26 / 227] msync in mm (addr: UserAddr, len: usize, flags: SyncFlags) Full;
                [27 / 232] mincore in mm (addr: UserAddr, len: usize, vec: UserOut<u8>) Full;
                [28 / 233] madvise in mm (addr: UserAddr, len: usize, advice: Advice) Full;
                [149 / 228] mlock in mm (addr: UserAddr, len: usize) Partial("accounted, not pinned on the host");
                [150 / 229] munlock in mm (addr: UserAddr, len: usize) Full;
                [151 / 230] mlockall in mm (flags: LockFlags) Partial("accounted, not pinned on the host");
                [152 / 231] munlockall in mm () Full;
                [216 / 234] remap_file_pages in mm (addr: UserAddr, len: usize, prot: Prot, pgoff: u64, flags: MapFlags) Full;
                [237 / 235] mbind in mm (addr: UserAddr, len: usize, mode: MemoryPolicy, nodemask: UserIn<u64>, maxnode: u64, flags: u32) Partial("one node: checked, without effect");
                [238 / 237] set_mempolicy in mm (mode: MemoryPolicy, nodemask: UserIn<u64>, maxnode: u64) Partial("one node: checked, not kept");
                [239 / 236] get_mempolicy in mm (mode: UserOut<i32>, nodemask: UserOut<u64>, maxnode: u64, addr: UserAddr, flags: u32) Partial("one node: always the default");
                [256 / 238] migrate_pages in mm (pid: Pid, maxnode: u64, old_nodes: UserIn<u64>, new_nodes: UserIn<u64>) Full;
                [279 / 239] move_pages in mm (pid: Pid, count: u64, pages: UserIn<u64>, nodes: UserIn<i32>, status: UserOut<i32>, flags: u32) Partial("one node: tells, moves nothing");
                [310 / 270] process_vm_readv in mm (pid: Pid, local_iov: UserIn<Iovec>, liovcnt: u64, remote_iov: UserIn<Iovec>, riovcnt: u64, flags: u64) Full;
                [311 / 271] process_vm_writev in mm (pid: Pid, local_iov: UserIn<Iovec>, liovcnt: u64, remote_iov: UserIn<Iovec>, riovcnt: u64, flags: u64) Full;
                [324 / 283] membarrier in mm (cmd: MembarrierCommand, flags: u32, cpu_id: i32) Partial("nothing for restartable sequences or across processes but GLOBAL");
                [325 / 284] mlock2 in mm (addr: UserAddr, len: usize, flags: Mlock2Flags) Partial("accounted, not pinned on the host");
                [329 / 288] pkey_mprotect in mm (addr: UserAddr, len: usize, prot: Prot, pkey: i32) Full;
                [330 / 289] pkey_alloc in mm (flags: u32, access_rights: u32) Full;
                [331 / 290] pkey_free in mm (pkey: i32) Full;
                [440 / 440] process_madvise in mm (pidfd: Fd, iov: UserIn<Iovec>, iovcnt: u64, advice: Advice, flags: u32) Partial("on the caller itself");
                [448 / 448] process_mrelease in mm (pidfd: Fd, flags: u32) Full;
                [450 / 450] set_mempolicy_home_node in mm (addr: UserAddr, len: usize, home_node: u64, flags: u64) Partial("one node: no range has a policy");
                [451 / 451] cachestat in mm (fd: Fd, range: UserIn<CachestatRange>, cstat: UserOut<Cachestat>, flags: u32) Partial("pages of tmpfs only: those of host files are the host's");
                [462 / 462] mseal in mm (addr: UserAddr, len: usize, flags: u64) Full;

                // futexes
                [202 / 98] futex in futex (uaddr: UserInOut<u32>, op: i32, val: u32, timeout: u64, uaddr2: UserInOut<u32>, val3: u32) Full;
                [273 / 99] set_robust_list in futex (head: UserAddr, len: usize) Full;
                [274 / 100] get_robust_list in futex (pid: Pid, head_ptr: UserOut<u64>, len_ptr: UserOut<u64>) Full;
                [449 / 449] futex_waitv in futex (waiters: UserIn<FutexWaitv>, nr_futexes: u32, flags: u32, timeout: UserIn<Timespec>, clockid: ClockId) Full;
                [454 / 454] futex_wake in futex (uaddr: UserInOut<u32>, mask: u64, nr: i32, flags: u32) Full;
                [455 / 455] futex_wait in futex (uaddr: UserInOut<u32>, val: u64, mask: u64, flags: u32, timeout: UserIn<Timespec>, clockid: ClockId) Full;
                [456 / 456] futex_requeue in futex (waiters: UserIn<FutexWaitv>, flags: u32, nr_wake: i32, nr_requeue: i32) Full;

                // System V shared memory
                [29 / 194] shmget in shm (key: i32, size: usize, shmflg: i32) Full;
                [30 / 196] shmat in shm (shmid: i32, shmaddr: UserAddr, shmflg: i32) Full;
                [31 / 195] shmctl in shm (shmid: i32, cmd: IpcCommand, buf: UserInOut<Shmid64Ds>) Partial("SHM_LOCK is noted only");
                [67 / 197] shmdt in shm (shmaddr: UserAddr) Full;

                // System V semaphores
                [64 / 190] semget in sem (key: i32, nsems: i32, semflg: i32) Full;
                [65 / 193] semop in sem (semid: i32, sops: UserIn<Sembuf>, nsops: u32) Full;
                [66 / 191] semctl in sem (semid: i32, semnum: i32, cmd: IpcCommand, arg: u64) Full;
                [220 / 192] semtimedop in sem (semid: i32, sops: UserIn<Sembuf>, nsops: u32, timeout: UserIn<Timespec>) Full;

                // System V and POSIX message queues
                [68 / 186] msgget in msg (key: i32, msgflg: i32) Full;
                [69 / 189] msgsnd in msg (msqid: i32, msgp: UserIn<i64>, msgsz: usize, msgflg: i32) Full;
                [70 / 188] msgrcv in msg (msqid: i32, msgp: UserOut<i64>, msgsz: usize, msgtyp: i64, msgflg: i32) Full;
                [71 / 187] msgctl in msg (msqid: i32, cmd: IpcCommand, buf: UserInOut<Msqid64Ds>) Full;
                [240 / 180] mq_open in mq (name: UserCStr, oflag: OpenFlags, mode: Mode, attr: UserIn<MqAttr>) Full;
                [241 / 181] mq_unlink in mq (name: UserCStr) Full;
                [242 / 182] mq_timedsend in mq (mqdes: Fd, msg_ptr: UserIn<u8>, msg_len: usize, msg_prio: u32, abs_timeout: UserIn<Timespec>) Full;
                [243 / 183] mq_timedreceive in mq (mqdes: Fd, msg_ptr: UserOut<u8>, msg_len: usize, msg_prio: UserOut<u32>, abs_timeout: UserIn<Timespec>) Full;
                [244 / 184] mq_notify in mq (mqdes: Fd, sevp: UserIn<SigEvent>) Partial("no SIGEV_THREAD");
                [245 / 185] mq_getsetattr in mq (mqdes: Fd, newattr: UserIn<MqAttr>, oldattr: UserOut<MqAttr>) Full;

                // tasks born, changed, awaited, gone
                [56 / 220] clone in task (flags: CloneFlags, stack: UserAddr, parent_tid: UserOut<i32>, child_tid: UserOut<i32>, tls: u64) Partial("of namespaces only UTS and mount");
                [57 / -] fork in task () Full;
                [58 / -] vfork in task () Full;
                [59 / 221] execve in task (path: UserCStr, argv: UserIn<UserCStr>, envp: UserIn<UserCStr>) Full;
                [60 / 93] exit in task (status: i32) Full;
                [61 / 260] wait4 in task (pid: Pid, wstatus: UserOut<i32>, options: WaitOptions, rusage: UserOut<Rusage>) Full;
                [135 / 92] personality in task (persona: u32) Full;
                [218 / 96] set_tid_address in task (tidptr: UserOut<i32>) Full;
                [231 / 94] exit_group in task (status: i32) Full;
                [247 / 95] waitid in task (idtype: IdType, id: Pid, infop: UserOut<SigInfo>, options: WaitOptions, rusage: UserOut<Rusage>) Full;
                [312 / 272] kcmp in task (pid1: Pid, pid2: Pid, kind: KcmpType, idx1: u64, idx2: u64) Partial("no KCMP_EPOLL_TFD");
                [322 / 281] execveat in task (dirfd: DirFd, path: UserCStr, argv: UserIn<UserCStr>, envp: UserIn<UserCStr>, flags: AtFlags) Full;
                [334 / 293] rseq in task (rseq: UserInOut<Rseq>, rseq_len: u32, flags: u32, sig: u32) Planned;
                [434 / 434] pidfd_open in task (pid: Pid, flags: PidfdFlags) Partial("not of a thread alone");
                [435 / 435] clone3 in task (cl_args: UserIn<CloneArgs>, size: usize) Partial("of namespaces only UTS and mount; no cgroups");
                [438 / 438] pidfd_getfd in task (pidfd: Fd, targetfd: Fd, flags: u32) Full;

                // who a task is
                [39 / 172] getpid in ids () Full;
                [102 / 174] getuid in ids () Full;
                [104 / 176] getgid in ids () Full;
                [105 / 146] setuid in ids (uid: Uid) Full;
                [106 / 144] setgid in ids (gid: Gid) Full;
                [107 / 175] geteuid in ids () Full;
                [108 / 177] getegid in ids () Full;
                [109 / 154] setpgid in ids (pid: Pid, pgid: Pid) Full;
                [110 / 173] getppid in ids () Full;
                [111 / -] getpgrp in ids () Full;
                [112 / 157] setsid in ids () Full;
                [113 / 145] setreuid in ids (ruid: Uid, euid: Uid) Full;
                [114 / 143] setregid in ids (rgid: Gid, egid: Gid) Full;
                [115 / 158] getgroups in ids (size: i32, list: UserOut<u32>) Full;
                [116 / 159] setgroups in ids (size: i32, list: UserIn<u32>) Full;
                [117 / 147] setresuid in ids (ruid: Uid, euid: Uid, suid: Uid) Full;
                [118 / 148] getresuid in ids (ruid: UserOut<u32>, euid: UserOut<u32>, suid: UserOut<u32>) Full;
                [119 / 149] setresgid in ids (rgid: Gid, egid: Gid, sgid: Gid) Full;
                [120 / 150] getresgid in ids (rgid: UserOut<u32>, egid: UserOut<u32>, sgid: UserOut<u32>) Full;
                [121 / 155] getpgid in ids (pid: Pid) Full;
                [122 / 151] setfsuid in ids (fsuid: Uid) Full;
                [123 / 152] setfsgid in ids (fsgid: Gid) Full;
                [124 / 156] getsid in ids (pid: Pid) Full;
                [125 / 90] capget in ids (hdrp: UserInOut<CapUserHeader>, datap: UserOut<CapUserData>) Full;
                [126 / 91] capset in ids (hdrp: UserInOut<CapUserHeader>, datap: UserIn<CapUserData>) Full;
                [186 / 178] gettid in ids () Full;

                // signals
                [13 / 134] rt_sigaction in signal (signum: i32, act: UserIn<SigAction>, oldact: UserOut<SigAction>, sigsetsize: usize) Full;
                [14 / 135] rt_sigprocmask in signal (how: SigmaskHow, set: UserIn<SigSet>, oldset: UserOut<SigSet>, sigsetsize: usize) Full;
                [15 / 139] rt_sigreturn in signal () Full;
                [34 / -] pause in signal () Full;
                [62 / 129] kill in signal (pid: Pid, sig: i32) Full;
                [127 / 136] rt_sigpending in signal (set: UserOut<SigSet>, sigsetsize: usize) Full;
                [128 / 137] rt_sigtimedwait in signal (set: UserIn<SigSet>, info: UserOut<SigInfo>, timeout: UserIn<Timespec>, sigsetsize: usize) Full;
                [129 / 138] rt_sigqueueinfo in signal (tgid: Pid, sig: i32, info: UserIn<SigInfo>) Full;
                [130 / 133] rt_sigsuspend in signal (mask: UserIn<SigSet>, sigsetsize: usize) Full;
                [131 / 132] sigaltstack in signal (ss: UserIn<StackT>, old_ss: UserOut<StackT>) Full;
                [200 / 130] tkill in signal (tid: Tid, sig: i32) Full;
                [219 / 128] restart_syscall in signal () Full;
                [234 / 131] tgkill in signal (tgid: Pid, tid: Tid, sig: i32) Full;
                [297 / 240] rt_tgsigqueueinfo in signal (tgid: Pid, tid: Tid, sig: i32, info: UserIn<SigInfo>) Full;
                [424 / 424] pidfd_send_signal in signal (pidfd: Fd, sig: i32, info: UserIn<SigInfo>, flags: PidfdSignalFlags) Full;

                // clocks, timers, sleeping
                [35 / 101] nanosleep in time (req: UserIn<Timespec>, rem: UserOut<Timespec>) Full;
                [36 / 102] getitimer in time (which: IntervalTimer, curr_value: UserOut<Itimerval>) Full;
                [37 / -] alarm in time (seconds: u32) Full;
                [38 / 103] setitimer in time (which: IntervalTimer, new_value: UserIn<Itimerval>, old_value: UserOut<Itimerval>) Full;
                [96 / 169] gettimeofday in time (tv: UserOut<Timeval>, tz: UserOut<Timezone>) Full;
                [100 / 153] times in time (buf: UserOut<Tms>) Full;
                [159 / 171] adjtimex in time (buf: UserInOut<Timex>) Partial("tells, does not change");
                [164 / 170] settimeofday in time (tv: UserIn<Timeval>, tz: UserIn<Timezone>) Partial("the clock is the host's: EPERM");
                [201 / -] time in time (tloc: UserOut<i64>) Full;
                [222 / 107] timer_create in time (clockid: ClockId, sevp: UserIn<SigEvent>, timerid: UserOut<i32>) Full;
                [223 / 110] timer_settime in time (timerid: TimerId, flags: TimerFlags, new_value: UserIn<Itimerspec>, old_value: UserOut<Itimerspec>) Full;
                [224 / 108] timer_gettime in time (timerid: TimerId, curr_value: UserOut<Itimerspec>) Full;
                [225 / 109] timer_getoverrun in time (timerid: TimerId) Full;
                [226 / 111] timer_delete in time (timerid: TimerId) Full;
                [227 / 112] clock_settime in time (clockid: ClockId, tp: UserIn<Timespec>) Partial("the clock is the host's: EPERM");
                [228 / 113] clock_gettime in time (clockid: ClockId, tp: UserOut<Timespec>) Full;
                [229 / 114] clock_getres in time (clockid: ClockId, res: UserOut<Timespec>) Full;
                [230 / 115] clock_nanosleep in time (clockid: ClockId, flags: TimerFlags, req: UserIn<Timespec>, rem: UserOut<Timespec>) Full;
                [305 / 266] clock_adjtime in time (clockid: ClockId, buf: UserInOut<Timex>) Partial("tells, does not change");

                // scheduling
                [24 / 124] sched_yield in sched () Full;
                [140 / 141] getpriority in sched (which: PriorityWhich, who: i32) Full;
                [141 / 140] setpriority in sched (which: PriorityWhich, who: i32, prio: i32) Full;
                [142 / 118] sched_setparam in sched (pid: Pid, param: UserIn<SchedParam>) Full;
                [143 / 121] sched_getparam in sched (pid: Pid, param: UserOut<SchedParam>) Full;
                [144 / 119] sched_setscheduler in sched (pid: Pid, policy: SchedPolicy, param: UserIn<SchedParam>) Full;
                [145 / 120] sched_getscheduler in sched (pid: Pid) Full;
                [146 / 125] sched_get_priority_max in sched (policy: SchedPolicy) Full;
                [147 / 126] sched_get_priority_min in sched (policy: SchedPolicy) Full;
                [148 / 127] sched_rr_get_interval in sched (pid: Pid, tp: UserOut<Timespec>) Full;
                [203 / 122] sched_setaffinity in sched (pid: Pid, cpusetsize: u32, mask: UserIn<u8>) Full;
                [204 / 123] sched_getaffinity in sched (pid: Pid, cpusetsize: u32, mask: UserOut<u8>) Full;
                [251 / 30] ioprio_set in sched (which: i32, who: i32, ioprio: i32) Full;
                [252 / 31] ioprio_get in sched (which: i32, who: i32) Full;
                [309 / 168] getcpu in sched (cpu: UserOut<u32>, node: UserOut<u32>, tcache: UserAddr) Partial("always the first allowed CPU");
                [314 / 274] sched_setattr in sched (pid: Pid, attr: UserIn<SchedAttr>, flags: u32) Full;
                [315 / 275] sched_getattr in sched (pid: Pid, attr: UserOut<SchedAttr>, size: u32, flags: u32) Full;

                // limits and usage
                [97 / 163] getrlimit in limits (resource: Resource, rlim: UserOut<Rlimit64>) Full;
                [98 / 165] getrusage in limits (who: RusageWho, usage: UserOut<Rusage>) Full;
                [160 / 164] setrlimit in limits (resource: Resource, rlim: UserIn<Rlimit64>) Full;
                [302 / 261] prlimit64 in limits (pid: Pid, resource: Resource, new_limit: UserIn<Rlimit64>, old_limit: UserOut<Rlimit64>) Full;

                // what tasks are told
                [157 / 167] prctl in prctl (option: PrctlOption, arg2: u64, arg3: u64, arg4: u64, arg5: u64) Partial("PR_SET_MM, PR_SET_SYSCALL_USER_DISPATCH, PR_SCHED_CORE are EINVAL");
                [158 / -] arch_prctl in prctl (option: ArchPrctlOption, arg2: UserAddr) Partial("no cpuid faulting, no shadow stacks");

                // tracing
                [101 / 117] ptrace in ptrace (request: PtraceRequest, pid: Pid, addr: UserAddr, data: u64) Partial("no debug registers, no blocks of steps, no filters dumped");

                // filters
                [317 / 277] seccomp in seccomp (op: SeccompOperation, flags: u32, args: UserAddr) Partial("no user notification: NEW_LISTENER is EINVAL");

                // namespaces
                [272 / 97] unshare in namespace (flags: CloneFlags) Partial("of namespaces only UTS and mount");
                [308 / 268] setns in namespace (fd: Fd, nstype: CloneFlags) Partial("no namespace has a file");

                // what the system is
                [63 / 160] uname in sysinfo (buf: UserOut<NewUtsname>) Full;
                [99 / 179] sysinfo in sysinfo (info: UserOut<Sysinfo>) Full;
                [103 / 116] syslog in sysinfo (kind: i32, bufp: UserOut<u8>, len: i32) Partial("the log is empty");
                [153 / 58] vhangup in sysinfo () Full;
                [170 / 161] sethostname in sysinfo (name: UserIn<u8>, len: i32) Full;
                [171 / 162] setdomainname in sysinfo (name: UserIn<u8>, len: i32) Full;

                // random bytes
                [318 / 278] getrandom in random (buf: UserOut<u8>, count: usize, flags: GetrandomFlags) Full;

                // sockets
                [41 / 198] socket in socket (domain: i32, kind: i32, protocol: i32) Partial("AF_UNIX only; other families are EAFNOSUPPORT");
                [42 / 203] connect in socket (sockfd: Fd, addr: UserIn<SockaddrStorage>, addrlen: i32) Full;
                [43 / 202] accept in socket (sockfd: Fd, addr: UserOut<SockaddrStorage>, addrlen: UserInOut<i32>) Full;
                [44 / 206] sendto in socket (sockfd: Fd, buf: UserIn<u8>, len: usize, flags: MessageFlags, dest_addr: UserIn<SockaddrStorage>, addrlen: i32) Partial("no MSG_OOB on unix streams");
                [45 / 207] recvfrom in socket (sockfd: Fd, buf: UserOut<u8>, len: usize, flags: MessageFlags, src_addr: UserOut<SockaddrStorage>, addrlen: UserInOut<i32>) Partial("no MSG_OOB on unix streams");
                [46 / 211] sendmsg in socket (sockfd: Fd, msg: UserIn<Msghdr>, flags: MessageFlags) Partial("no MSG_OOB on unix streams");
                [47 / 212] recvmsg in socket (sockfd: Fd, msg: UserInOut<Msghdr>, flags: MessageFlags) Partial("no MSG_OOB on unix streams");
                [48 / 210] shutdown in socket (sockfd: Fd, how: ShutdownHow) Full;
                [49 / 200] bind in socket (sockfd: Fd, addr: UserIn<SockaddrStorage>, addrlen: i32) Full;
                [50 / 201] listen in socket (sockfd: Fd, backlog: i32) Full;
                [51 / 204] getsockname in socket (sockfd: Fd, addr: UserOut<SockaddrStorage>, addrlen: UserInOut<i32>) Full;
                [52 / 205] getpeername in socket (sockfd: Fd, addr: UserOut<SockaddrStorage>, addrlen: UserInOut<i32>) Full;
                [53 / 199] socketpair in socket (domain: i32, kind: i32, protocol: i32, sv: UserOut<[i32; 2]>) Partial("AF_UNIX only; other families are EAFNOSUPPORT");
                [288 / 242] accept4 in socket (sockfd: Fd, addr: UserOut<SockaddrStorage>, addrlen: UserInOut<i32>, flags: SocketFlags) Full;
                [299 / 243] recvmmsg in socket (sockfd: Fd, msgvec: UserInOut<Mmsghdr>, vlen: u32, flags: MessageFlags, timeout: UserInOut<Timespec>) Full;
                [307 / 269] sendmmsg in socket (sockfd: Fd, msgvec: UserInOut<Mmsghdr>, vlen: u32, flags: MessageFlags) Full;

                // socket options
                [54 / 208] setsockopt in sockopt (sockfd: Fd, level: i32, optname: i32, optval: UserIn<u8>, optlen: i32) Full;
                [55 / 209] getsockopt in sockopt (sockfd: Fd, level: i32, optname: i32, optval: UserOut<u8>, optlen: UserInOut<i32>) Full;
            }
            refused {
                [134 / -] uselib ENOSYS "Linux is built without it since 5.15";
                [154 / -] modify_ldt ENOSYS "16-bit segments are not for sandboxes; kernels may be built without";
                [156 / -] _sysctl ENOSYS "removed in Linux 5.5";
                [163 / 89] acct EPERM "process accounting belongs to the host";
                [167 / 224] swapon EPERM "the sandbox has no swap of its own";
                [168 / 225] swapoff EPERM "the sandbox has no swap of its own";
                [169 / 142] reboot EPERM "the sandbox has no machine to reboot";
                [172 / -] iopl EPERM "the sandbox has no I/O ports";
                [173 / -] ioperm EPERM "the sandbox has no I/O ports";
                [174 / -] create_module ENOSYS "removed in Linux 2.6";
                [175 / 105] init_module EPERM "the sandbox loads no kernel modules";
                [176 / 106] delete_module EPERM "the sandbox loads no kernel modules";
                [177 / -] get_kernel_syms ENOSYS "removed in Linux 2.6";
                [178 / -] query_module ENOSYS "removed in Linux 2.6";
                [179 / 60] quotactl EPERM "quotas belong to the host";
                [180 / 42] nfsservctl ENOSYS "removed in Linux 3.1";
                [181 / -] getpmsg ENOSYS "never implemented by Linux";
                [182 / -] putpmsg ENOSYS "never implemented by Linux";
                [183 / -] afs_syscall ENOSYS "never implemented by Linux";
                [184 / -] tuxcall ENOSYS "never implemented by Linux";
                [185 / -] security ENOSYS "never implemented by Linux";
                [205 / -] set_thread_area ENOSYS "no 32-bit calls on x86-64";
                [206 / 0] io_setup ENOSYS "kernels may be built without asynchronous I/O; libraries fall back";
                [207 / 1] io_destroy ENOSYS "kernels may be built without asynchronous I/O; libraries fall back";
                [208 / 4] io_getevents ENOSYS "kernels may be built without asynchronous I/O; libraries fall back";
                [209 / 2] io_submit ENOSYS "kernels may be built without asynchronous I/O; libraries fall back";
                [210 / 3] io_cancel ENOSYS "kernels may be built without asynchronous I/O; libraries fall back";
                [211 / -] get_thread_area ENOSYS "no 32-bit calls on x86-64";
                [212 / 18] lookup_dcookie ENOSYS "removed in Linux 6.7";
                [214 / -] epoll_ctl_old ENOSYS "never implemented by Linux";
                [215 / -] epoll_wait_old ENOSYS "never implemented by Linux";
                [236 / -] vserver ENOSYS "never implemented by Linux";
                [246 / 104] kexec_load EPERM "the sandbox boots no kernel";
                [248 / 217] add_key ENOSYS "kernels may be built without keyrings; they are not namespaced";
                [249 / 218] request_key ENOSYS "kernels may be built without keyrings; they are not namespaced";
                [250 / 219] keyctl ENOSYS "kernels may be built without keyrings; they are not namespaced";
                [298 / 241] perf_event_open EACCES "as under perf_event_paranoid 3: counters tell of the host";
                [300 / 262] fanotify_init EPERM "needs CAP_SYS_ADMIN over the host";
                [301 / 263] fanotify_mark EPERM "needs CAP_SYS_ADMIN over the host";
                [303 / 264] name_to_handle_at EOPNOTSUPP "no file system here has handles";
                [304 / 265] open_by_handle_at EPERM "needs CAP_DAC_READ_SEARCH over the host";
                [313 / 273] finit_module EPERM "the sandbox loads no kernel modules";
                [320 / 294] kexec_file_load EPERM "the sandbox boots no kernel";
                [321 / 280] bpf EPERM "as under unprivileged_bpf_disabled";
                [323 / 282] userfaultfd EPERM "as under unprivileged_userfaultfd 0";
                [333 / 292] io_pgetevents ENOSYS "kernels may be built without asynchronous I/O; libraries fall back";
                [335 / -] uretprobe ENOSYS "only for the kernel's own trampolines";
                [425 / 425] io_uring_setup ENOSYS "too wide a door; programs fall back to epoll";
                [426 / 426] io_uring_enter ENOSYS "too wide a door; programs fall back to epoll";
                [427 / 427] io_uring_register ENOSYS "too wide a door; programs fall back to epoll";
                [443 / 443] quotactl_fd EPERM "quotas belong to the host";
                [444 / 444] landlock_create_ruleset EOPNOTSUPP "as on a kernel where Landlock is not enabled";
                [445 / 445] landlock_add_rule EOPNOTSUPP "as on a kernel where Landlock is not enabled";
                [446 / 446] landlock_restrict_self EOPNOTSUPP "as on a kernel where Landlock is not enabled";
                [447 / 447] memfd_secret ENOSYS "as on a kernel without secretmem.enable";
                [453 / 453] map_shadow_stack EOPNOTSUPP "as on a processor without shadow stacks";
                [459 / 459] lsm_get_self_attr EOPNOTSUPP "no security module is loaded";
                [460 / 460] lsm_set_self_attr EOPNOTSUPP "no security module is loaded";
                [461 / 461] lsm_list_modules EOPNOTSUPP "no security module is loaded";
            }
        }
    };
}
pub(crate) use with_table;

macro_rules! call {
    ($cx:ident, $number:ident, $args:ident, $module:ident, $name:ident, ($($type:ty),*), Planned) => {
        Err(support::planned($cx, $number).into())
    };
    ($cx:ident, $number:ident, $args:ident, $module:ident, $name:ident, ($($type:ty),*), $status:ident) => {{
        #[allow(unused_mut, unused_variables, reason = "some calls take no argument")]
        let mut registers = $args.into_iter();
        let value = crate::$module::$name(
            $cx,
            $(<$type as abi::FromReg>::from_reg(registers.next().unwrap_or(0))),*
        )?;
        Ok(IntoReg::into_reg(value))
    }};
}

macro_rules! expand {
    (
        handled { $(
            [$number:literal / $arm:tt] $name:ident in $module:ident
            ($($arg:ident: $type:ty),*) $status:ident $(($note:literal))?;
        )* }
        refused { $([$refused:literal / $refused_arm:tt] $refused_name:ident $errno:ident $reason:literal;)* }
    ) => {
        /// Every system call, by number.
        #[allow(non_camel_case_types, reason = "these are Linux's names")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Sysno { $(#[doc = stringify!($name)] $name = $number,)* $(#[doc = stringify!($refused_name)] $refused_name = $refused,)* }

        impl Sysno {
            /// The call with this number. As on Linux only the low 32 bits count.
            pub fn from_number(number: u64) -> Option<Sysno> {
                match number as u32 {
                    $($number => Some(Sysno::$name),)*
                    $($refused => Some(Sysno::$refused_name),)*
                    _ => None,
                }
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Sysno::$name => stringify!($name),)*
                    $(Sysno::$refused_name => stringify!($refused_name),)*
                }
            }

            /// The family that handles it; that of refused calls is `refused`.
            pub fn family(self) -> &'static str {
                match self {
                    $(Sysno::$name => stringify!($module),)*
                    $(Sysno::$refused_name => "refused",)*
                }
            }
        }

        /// Carries out call `number`.
        pub(crate) fn dispatch(cx: &mut Current, number: u64, args: [u64; 6]) -> SysResult<u64> {
            match number as u32 {
                $($number => call!(cx, number, args, $module, $name, ($($type),*), $status),)*
                $($refused => Err(support::refused(cx, number, Errno::$errno).into()),)*
                _ => Err(support::planned(cx, number & 0xffff_ffff).into()),
            }
        }

        /// Writes the arguments of call `number` in strace(1)'s format, by the types of its row.
        pub(crate) fn show_arguments(line: &mut trace::Line<'_>, number: u64) {
            match number as u32 {
                $($number => { $(trace::argument::<$type>(line, stringify!($arg));)* })*
                _ => trace::raw_arguments(line),
            }
        }
    };
}

with_table!(expand);
