// SPDX-License-Identifier: Apache-2.0
//! What machine this is.

use abi::{
    Errno, UserIn, UserOut,
    cred::Capabilities,
    sysinfo::Sysinfo,
    utsname::{NewUtsname, UTS_FIELD},
};
use sentry::{kernel::SysResult, task::Current};

/// uname(2)
pub fn uname(cx: &mut Current, buf: UserOut<NewUtsname>) -> SysResult {
    let names = cx.uts().names();
    Ok(cx.write(buf, &names)?)
}

/// sysinfo(2)
pub fn sysinfo(cx: &mut Current, info: UserOut<Sysinfo>) -> SysResult {
    let kernel = cx.kernel();
    let total = kernel.limits().memory_total;
    let uptime = kernel.uptime();
    let told = Sysinfo {
        uptime: i64::try_from(uptime.div_ceil(1_000_000_000)).unwrap_or(i64::MAX),
        totalram: total,
        freeram: kernel.memory_available(),
        procs: u16::try_from(kernel.tasks().count()).unwrap_or(u16::MAX),
        mem_unit: 1,
        ..Sysinfo::default()
    };
    Ok(cx.write(info, &told)?)
}

fn read_name(cx: &mut Current, name: UserIn<u8>, len: i32) -> Result<Vec<u8>, Errno> {
    if !cx.creds().has(Capabilities::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    if len >= UTS_FIELD {
        return Err(Errno::EINVAL);
    }
    cx.read_slice(name, len)
}

/// sethostname(2)
pub fn sethostname(cx: &mut Current, name: UserIn<u8>, len: i32) -> SysResult {
    let name = read_name(cx, name, len)?;
    Ok(cx.uts().set_host(name)?)
}

/// setdomainname(2)
pub fn setdomainname(cx: &mut Current, name: UserIn<u8>, len: i32) -> SysResult {
    let name = read_name(cx, name, len)?;
    Ok(cx.uts().set_domain(name)?)
}

/// syslog(2): the sandbox's log is empty.
pub fn syslog(cx: &mut Current, kind: i32, bufp: UserOut<u8>, len: i32) -> SysResult<i32> {
    const READ: i32 = 2;
    const READ_ALL: i32 = 3;
    const READ_CLEAR: i32 = 4;
    const CONSOLE_LEVEL: i32 = 8;
    const SIZE_UNREAD: i32 = 9;
    const SIZE_BUFFER: i32 = 10;
    let may = cx.creds().effective.intersects(Capabilities::SYSLOG | Capabilities::SYS_ADMIN);
    if !may && kind != READ_ALL && kind != SIZE_BUFFER {
        return Err(Errno::EPERM.into());
    }
    match kind {
        READ | READ_ALL | READ_CLEAR => {
            if bufp.addr().is_null() || len < 0 {
                return Err(Errno::EINVAL.into());
            }
            Ok(0)
        }
        CONSOLE_LEVEL if !(1..=8).contains(&len) => Err(Errno::EINVAL.into()),
        SIZE_BUFFER => Ok(1 << 18),
        0..=SIZE_UNREAD => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// vhangup(2): there is no terminal of the machine to hang up.
pub fn vhangup(cx: &mut Current) -> SysResult {
    if cx.creds().has(Capabilities::SYS_TTY_CONFIG) { Ok(()) } else { Err(Errno::EPERM.into()) }
}
