// SPDX-License-Identifier: Apache-2.0
//! Control messages: cmsg(3), from and to the guest.

use abi::{
    Errno, Fd, UserAddr, UserIn,
    cred::Capabilities,
    socket::{
        AF_UNIX, Cmsghdr, MessageFlags, SCM_CREDENTIALS, SCM_MAX_FD, SCM_PIDFD, SCM_RIGHTS,
        SOL_SOCKET, Ucred, cmsg_align,
    },
};
use sentry::{kernel::SysResult, net::Ancillary, task::Current};
use zerocopy::{FromBytes, IntoBytes};

/// The most that is taken from one caller (`net.core.optmem_max`).
const MAX_CONTROL: u64 = 128 * 1024;

const HEAD: usize = size_of::<Cmsghdr>();

/// Reads and checks the control messages of a sendmsg(2) (`__scm_send()`).
pub(super) fn read(
    cx: &mut Current,
    family: u16,
    control: u64,
    len: u64,
) -> Result<Ancillary, Errno> {
    let mut ancillary = Ancillary::default();
    if control == 0 || len == 0 {
        return Ok(ancillary);
    }
    if len > MAX_CONTROL {
        return Err(Errno::ENOBUFS);
    }
    let count = usize::try_from(len).map_err(|_| Errno::ENOBUFS)?;
    let bytes = cx.read_slice(UserIn::<u8>::new(UserAddr(control)), count)?;
    let mut rest = bytes.as_slice();
    while let Ok((head, _)) = Cmsghdr::read_from_prefix(rest) {
        let len = usize::try_from(head.cmsg_len).map_err(|_| Errno::EINVAL)?;
        if len < HEAD {
            return Err(Errno::EINVAL);
        }
        let data = rest.get(HEAD..len).ok_or(Errno::EINVAL)?;
        if head.cmsg_level == SOL_SOCKET {
            match head.cmsg_type {
                SCM_RIGHTS if family == AF_UNIX => take_files(cx, data, &mut ancillary)?,
                SCM_CREDENTIALS => {
                    let claimed = Ucred::read_from_bytes(data).map_err(|_| Errno::EINVAL)?;
                    check_claim(cx, &claimed)?;
                    ancillary.credentials = Some(claimed);
                }
                _ => return Err(Errno::EINVAL),
            }
        } else {
            ancillary.others.push((head.cmsg_level, head.cmsg_type, data.to_vec()));
        }
        let next = cmsg_align(len).ok_or(Errno::EINVAL)?;
        rest = rest.get(next..).unwrap_or_default();
    }
    Ok(ancillary)
}

fn take_files(cx: &Current, data: &[u8], ancillary: &mut Ancillary) -> Result<(), Errno> {
    let most = usize::try_from(SCM_MAX_FD).unwrap_or(0);
    let (numbers, _) = data.as_chunks();
    if ancillary.files.len() + numbers.len() > most {
        return Err(Errno::EINVAL);
    }
    for number in numbers {
        let file = cx.file_or_path(Fd(i32::from_ne_bytes(*number)))?;
        ancillary.files.push(file);
    }
    Ok(())
}

/// Whether the caller may say that it is this (`scm_check_creds()`).
fn check_claim(cx: &Current, claimed: &Ucred) -> Result<(), Errno> {
    let creds = cx.creds();
    let is_own_pid = claimed.pid == cx.task().pid();
    let is_pid_fine = is_own_pid || creds.has(Capabilities::SYS_ADMIN);
    let is_uid_fine = [creds.ruid, creds.euid, creds.suid].contains(&claimed.uid)
        || creds.has(Capabilities::SETUID);
    let is_gid_fine = [creds.rgid, creds.egid, creds.sgid].contains(&claimed.gid)
        || creds.has(Capabilities::SETGID);
    if !is_pid_fine || !is_uid_fine || !is_gid_fine {
        return Err(Errno::EPERM);
    }
    if !is_own_pid && cx.kernel().tasks().process(claimed.pid).is_none() {
        return Err(Errno::ESRCH);
    }
    Ok(())
}

/// Where control messages of a recvmsg(2) go, and what has become of the room.
pub(super) struct ControlSink {
    at: u64,
    room: usize,
    used: u64,
    pub(super) flags: MessageFlags,
}

impl ControlSink {
    pub(super) fn new(at: u64, len: u64) -> ControlSink {
        let room = if at == 0 { 0 } else { usize::try_from(len).unwrap_or(usize::MAX) };
        ControlSink { at, room, used: 0, flags: MessageFlags::empty() }
    }

    /// Bytes written, with their padding.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Tells all that came (`scm_recv_unix()`).
    pub(super) fn put_all(
        &mut self,
        cx: &mut Current,
        ancillary: Ancillary,
        is_cloexec: bool,
    ) -> SysResult {
        for (level, kind, data) in &ancillary.others {
            self.put(cx, *level, *kind, data)?;
        }
        if let Some(credentials) = &ancillary.credentials {
            self.put(cx, SOL_SOCKET, SCM_CREDENTIALS, credentials.as_bytes())?;
        }
        if !ancillary.files.is_empty() {
            self.put_files(cx, ancillary, is_cloexec)?;
        } else if let Some(pid) = ancillary.pidfd {
            self.put_pidfd(cx, pid)?;
        }
        Ok(())
    }

    /// `put_cmsg()`: what does not fit is cut, and `MSG_CTRUNC` says so.
    fn put(&mut self, cx: &mut Current, level: i32, kind: i32, data: &[u8]) -> Result<(), Errno> {
        if self.room < HEAD {
            self.flags |= MessageFlags::CTRUNC;
            return Ok(());
        }
        let whole = HEAD + data.len();
        let len = whole.min(self.room);
        if len < whole {
            self.flags |= MessageFlags::CTRUNC;
        }
        let head = Cmsghdr { cmsg_len: abi::num::to_u64(len), cmsg_level: level, cmsg_type: kind };
        let mut bytes = head.as_bytes().to_vec();
        bytes.extend_from_slice(data.get(..len - HEAD).unwrap_or_default());
        cx.write_bytes(UserAddr(self.at), &bytes)?;
        let space = cmsg_align(whole).unwrap_or(whole).min(self.room);
        self.at = self.at.saturating_add(abi::num::to_u64(space));
        self.used += abi::num::to_u64(space);
        self.room -= space;
        Ok(())
    }

    /// `scm_detach_fds()`: as many files as there is room for get numbers; the others are closed.
    fn put_files(&mut self, cx: &mut Current, ancillary: Ancillary, is_cloexec: bool) -> SysResult {
        let count = ancillary.files.len();
        let most = self.room.saturating_sub(HEAD) / size_of::<i32>();
        let mut numbers = Vec::new();
        for file in ancillary.files.into_iter().take(most) {
            match cx.install(file, is_cloexec) {
                Ok(fd) => numbers.push(fd),
                Err(_) => break,
            }
        }
        if numbers.len() < count {
            self.flags |= MessageFlags::CTRUNC;
        }
        if numbers.is_empty() {
            return Ok(());
        }
        let data: Vec<u8> = numbers.iter().flat_map(|fd| fd.0.to_ne_bytes()).collect();
        if let Err(errno) = self.put(cx, SOL_SOCKET, SCM_RIGHTS, &data) {
            for fd in numbers {
                drop(cx.fd_table().remove(fd));
            }
            return Err(errno.into());
        }
        Ok(())
    }

    /// `scm_pidfd_recv()`.
    fn put_pidfd(&mut self, cx: &mut Current, pid: i32) -> SysResult {
        if self.room < HEAD + size_of::<i32>() {
            self.flags |= MessageFlags::CTRUNC;
            return Ok(());
        }
        let number = match cx.open_pidfd(pid) {
            Ok(file) => cx.install(file, true).map_or_else(|errno| -errno.raw(), |fd| fd.0),
            Err(errno) => -errno.raw(),
        };
        Ok(self.put(cx, SOL_SOCKET, SCM_PIDFD, &number.to_ne_bytes())?)
    }
}
