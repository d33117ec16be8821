// SPDX-License-Identifier: Apache-2.0
//! POSIX message queues.

use std::{sync::Arc, time::Instant};

use abi::{
    Errno, Fd, Mode, Signal, UserCStr, UserIn, UserOut,
    cred::Capabilities,
    fcntl::OpenFlags,
    ipc::MqAttr,
    signal::{SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, SigEvent},
    time::Timespec,
};
use sentry::{
    ipc::mq::{self, Message, Notice, PRIORITIES, Queue, QueueFile, Size},
    kernel::{OrRestart, Restart, SysResult},
    task::{Current, QueueOwner},
    time::{Clock, nanos_of},
    vfs::{
        FileDescription, Lookup, NewNode, Place, ResolveContext, create,
        permission::{self, Access},
        remove, resolve,
    },
    wait::{Ready, Try},
};

/// mq_open(2). The kernel's call gets the name without its slash.
pub fn mq_open(
    cx: &mut Current,
    name: UserCStr,
    oflag: OpenFlags,
    mode: Mode,
    attr: UserIn<MqAttr>,
) -> SysResult<Fd> {
    let attr = attr.nullable().map(|attr| cx.read(attr)).transpose()?;
    let name = read_name(cx, name)?;
    let at = directory(cx);
    let place = match resolve::walk(&at, &name, Lookup::empty()) {
        Ok(place) => {
            open_old(&place, oflag, &at)?;
            place
        }
        Err(Errno::ENOENT) if oflag.contains(OpenFlags::CREAT) => {
            make(cx, &at, &name, mode, attr.as_ref())?
        }
        Err(errno) => return Err(errno.into()),
    };
    let queue = match mq::queue_of(place.inode()) {
        Some(queue) => queue,
        // Made by its name alone, and not opened since.
        None => {
            let queue = new_queue(cx, Size::default())?;
            place.inode().common().set_endpoint(Some(Arc::clone(&queue) as _));
            queue
        }
    };
    let status = oflag & (OpenFlags::ACCMODE | OpenFlags::NONBLOCK);
    let ops = Box::new(QueueFile::new(queue));
    let file = FileDescription::new(place, ops, status, cx.creds());
    Ok(cx.install(file, oflag.contains(OpenFlags::CLOEXEC))?)
}

/// A name as `lookup_one` takes it: one component.
fn read_name(cx: &mut Current, name: UserCStr) -> Result<Vec<u8>, Errno> {
    const NAME_MAX: usize = 255;
    let name = cx.read_path(name)?;
    if name.is_empty() {
        return Err(Errno::ENOENT);
    }
    if name.contains(&b'/') || name == b"." || name == b".." {
        return Err(Errno::EACCES);
    }
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok(name)
}

/// Where queues have their names.
fn directory(cx: &Current) -> ResolveContext {
    let root = Place::root_of(cx.kernel().message_queues());
    ResolveContext { root: root.clone(), start: root, creds: cx.creds() }
}

/// A queue that is there already (`prepare_open`).
fn open_old(place: &Place, oflag: OpenFlags, at: &ResolveContext) -> Result<(), Errno> {
    if oflag.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
        return Err(Errno::EEXIST);
    }
    let wanted = match oflag & OpenFlags::ACCMODE {
        OpenFlags::ACCMODE => return Err(Errno::EINVAL),
        OpenFlags::RDWR => Access::READ | Access::WRITE,
        OpenFlags::WRONLY => Access::WRITE,
        _ => Access::READ,
    };
    permission::check(&**place.inode(), wanted, &at.creds)
}

fn make(
    cx: &Current,
    at: &ResolveContext,
    name: &[u8],
    mode: Mode,
    attr: Option<&MqAttr>,
) -> Result<Place, Errno> {
    let is_privileged = at.creds.has(Capabilities::SYS_RESOURCE);
    let size = attr.map(|attr| Size::of(attr, is_privileged)).transpose()?.unwrap_or_default();
    let queue = new_queue(cx, size)?;
    let permissions = mode.0 & 0o7777 & !cx.fs_context().umask();
    let place = create::create(at, name, NewNode::Regular, create::Wanted::just(permissions))?;
    place.inode().common().set_endpoint(Some(queue as _));
    Ok(place)
}

fn new_queue(cx: &Current, size: Size) -> Result<Arc<Queue>, Errno> {
    cx.kernel().ipc().mq.make(size, cx.task().queue_maker(&cx.creds()))
}

/// mq_unlink(2)
pub fn mq_unlink(cx: &mut Current, name: UserCStr) -> SysResult {
    let name = read_name(cx, name)?;
    Ok(remove::unlink(&directory(cx), &name)?)
}

/// An open queue, with how it was opened.
fn open_queue(cx: &Current, fd: Fd) -> Result<(Arc<FileDescription>, Arc<Queue>), Errno> {
    let file = cx.file(fd)?;
    let queue = file.ops_as::<QueueFile>().map(|ops| Arc::clone(ops.queue()));
    Ok((Arc::clone(&file), queue.ok_or(Errno::EBADF)?))
}

/// A point in time on the clock on the wall.
fn deadline(cx: &mut Current, timeout: UserIn<Timespec>) -> Result<Option<Instant>, Errno> {
    let Some(timeout) = timeout.nullable() else { return Ok(None) };
    let nanos = nanos_of(cx.read(timeout)?)?;
    Ok(Some(Clock::Realtime.instant_at(nanos)))
}

/// mq_timedsend(2)
pub fn mq_timedsend(
    cx: &mut Current,
    mqdes: Fd,
    msg_ptr: UserIn<u8>,
    msg_len: usize,
    msg_prio: u32,
    abs_timeout: UserIn<Timespec>,
) -> SysResult {
    let deadline = deadline(cx, abs_timeout)?;
    if msg_prio >= PRIORITIES {
        return Err(Errno::EINVAL.into());
    }
    let (file, queue) = open_queue(cx, mqdes)?;
    if !file.is_writable() {
        return Err(Errno::EBADF.into());
    }
    if !i64::try_from(msg_len).is_ok_and(|len| len <= queue.size().bytes) {
        return Err(Errno::EMSGSIZE.into());
    }
    let mut text = vec![0; msg_len];
    cx.read_bytes(msg_ptr.addr(), &mut text)?;
    let mut message = Some(Message { priority: msg_prio, text });
    let send = || Ok(queue.send(&mut message));
    cx.until_ready(&file, Ready::WRITABLE, deadline, send).or_restart(Restart::IfSaRestart)
}

/// mq_timedreceive(2)
pub fn mq_timedreceive(
    cx: &mut Current,
    mqdes: Fd,
    msg_ptr: UserOut<u8>,
    msg_len: usize,
    msg_prio: UserOut<u32>,
    abs_timeout: UserIn<Timespec>,
) -> SysResult<usize> {
    let deadline = deadline(cx, abs_timeout)?;
    let (file, queue) = open_queue(cx, mqdes)?;
    if !file.is_readable() {
        return Err(Errno::EBADF.into());
    }
    if i64::try_from(msg_len).is_ok_and(|len| len < queue.size().bytes) {
        return Err(Errno::EMSGSIZE.into());
    }
    let receive = || Ok(queue.receive());
    let message = match queue.receive() {
        Try::Done(message) => message,
        Try::WouldBlock => {
            queue.count_receiver(true);
            let received = cx.until_ready(&file, Ready::READABLE, deadline, receive);
            queue.count_receiver(false);
            received.or_restart(Restart::IfSaRestart)?
        }
    };
    if let Some(to) = msg_prio.nullable() {
        cx.write(to, &message.priority)?;
    }
    cx.write_bytes(msg_ptr.addr(), &message.text)?;
    Ok(message.text.len())
}

/// mq_notify(2)
pub fn mq_notify(cx: &mut Current, mqdes: Fd, sevp: UserIn<SigEvent>) -> SysResult {
    let event = sevp.nullable().map(|sevp| cx.read(sevp)).transpose()?;
    let notice = match event {
        None => None,
        Some(event) => Some(match event.sigev_notify {
            SIGEV_NONE => Notice::Silent,
            SIGEV_SIGNAL => {
                let signal = Signal::from_raw(event.sigev_signo).ok_or(Errno::EINVAL)?;
                Notice::Signal(signal.raw(), event.sigev_value)
            }
            // DIFFERS: a thread is started by what comes through a netlink socket: there is none.
            SIGEV_THREAD => return Err(Errno::EINVAL.into()),
            _ => return Err(Errno::EINVAL.into()),
        }),
    };
    let (_, queue) = open_queue(cx, mqdes)?;
    match notice {
        None => queue.forget_caller(),
        Some(notice) => queue.ask(QueueOwner::new(cx.task()), notice)?,
    }
    Ok(())
}

/// mq_getsetattr(2)
pub fn mq_getsetattr(
    cx: &mut Current,
    mqdes: Fd,
    newattr: UserIn<MqAttr>,
    oldattr: UserOut<MqAttr>,
) -> SysResult {
    let new = newattr.nullable().map(|new| cx.read(new)).transpose()?;
    let only = i64::from(OpenFlags::NONBLOCK.bits());
    if new.is_some_and(|new| new.mq_flags & !only != 0) {
        return Err(Errno::EINVAL.into());
    }
    let (file, queue) = open_queue(cx, mqdes)?;
    let old = MqAttr {
        mq_flags: if file.is_nonblocking() { only } else { 0 },
        mq_maxmsg: queue.size().messages,
        mq_msgsize: queue.size().bytes,
        mq_curmsgs: queue.count(),
        ..MqAttr::default()
    };
    if let Some(new) = new {
        let is_set = new.mq_flags & only != 0;
        let flags = if is_set { OpenFlags::NONBLOCK } else { OpenFlags::empty() };
        file.change_status(OpenFlags::NONBLOCK, flags);
    }
    if let Some(to) = oldattr.nullable() {
        cx.write(to, &old)?;
    }
    Ok(())
}
