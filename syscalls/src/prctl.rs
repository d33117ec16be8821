// SPDX-License-Identifier: Apache-2.0
//! prctl(2) and arch_prctl(2).

use abi::{
    Errno, Signal, UserAddr, UserIn, UserOut,
    cred::Capabilities,
    limits::TASK_COMM_LEN,
    prctl::{
        ARCH_GET_FS, ARCH_GET_GS, ARCH_SET_CPUID, ARCH_SET_FS, ARCH_SET_GS, ArchPrctlOption,
        PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_CAP_AMBIENT_IS_SET, PR_CAP_AMBIENT_LOWER,
        PR_CAP_AMBIENT_RAISE, PR_CAPBSET_DROP, PR_CAPBSET_READ, PR_GET_AUXV,
        PR_GET_CHILD_SUBREAPER, PR_GET_DUMPABLE, PR_GET_IO_FLUSHER, PR_GET_KEEPCAPS, PR_GET_MDWE,
        PR_GET_NAME, PR_GET_NO_NEW_PRIVS, PR_GET_PDEATHSIG, PR_GET_SECCOMP, PR_GET_SECUREBITS,
        PR_GET_SPECULATION_CTRL, PR_GET_THP_DISABLE, PR_GET_TID_ADDRESS, PR_GET_TIMERSLACK,
        PR_GET_TIMING, PR_GET_TSC, PR_MCE_KILL, PR_MCE_KILL_GET, PR_SET_CHILD_SUBREAPER,
        PR_SET_DUMPABLE, PR_SET_IO_FLUSHER, PR_SET_KEEPCAPS, PR_SET_MDWE, PR_SET_NAME,
        PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, PR_SET_PTRACER, PR_SET_SECCOMP, PR_SET_SECUREBITS,
        PR_SET_SPECULATION_CTRL, PR_SET_THP_DISABLE, PR_SET_TIMERSLACK, PR_SET_TIMING, PR_SET_TSC,
        PR_SET_VMA, PR_SET_VMA_ANON_NAME, PR_SPEC_NOT_AFFECTED, PR_TASK_PERF_EVENTS_DISABLE,
        PR_TASK_PERF_EVENTS_ENABLE, PR_TSC_ENABLE, PrctlOption, SecureBits,
    },
};
use sentry::{
    creds::Credentials,
    kernel::SysResult,
    mm::TASK_SIZE,
    task::{Current, Task, ptrace::have_done},
};

/// prctl(2)
pub fn prctl(
    cx: &mut Current,
    option: PrctlOption,
    arg2: u64,
    arg3: u64,
    arg4: u64,
    arg5: u64,
) -> SysResult<u64> {
    let rest_is_zero = arg3 == 0 && arg4 == 0 && arg5 == 0;
    let require = |holds: bool| if holds { Ok(()) } else { Err(Errno::EINVAL) };
    match option.0 {
        PR_SET_PDEATHSIG => {
            let signal = i32::try_from(arg2).map_err(|_| Errno::EINVAL)?;
            require(signal == 0 || Signal::from_raw(signal).is_some())?;
            cx.task().update_facts(|facts| facts.parent_death_signal = signal);
        }
        PR_GET_PDEATHSIG => {
            let signal = cx.task().facts().parent_death_signal;
            cx.write(out::<i32>(arg2), &signal)?;
        }
        PR_GET_DUMPABLE => return Ok(u64::from(cx.group().dumpable())),
        PR_SET_DUMPABLE => {
            require(arg2 <= 1)?;
            cx.group().set_dumpable(u32::from(arg2 == 1));
        }
        PR_GET_KEEPCAPS => {
            return Ok(u64::from(has_bit(&cx.creds(), SecureBits::KEEP_CAPS)));
        }
        PR_SET_KEEPCAPS => {
            require(arg2 <= 1)?;
            if has_bit(&cx.creds(), SecureBits::KEEP_CAPS_LOCKED) {
                return Err(Errno::EPERM.into());
            }
            let mut creds = (*cx.creds()).clone();
            let mut bits = SecureBits::from_bits_retain(creds.securebits);
            bits.set(SecureBits::KEEP_CAPS, arg2 == 1);
            creds.securebits = bits.bits();
            cx.set_creds(creds);
        }
        PR_SET_NAME => {
            let mut name = Vec::new();
            while name.len() < TASK_COMM_LEN - 1 {
                let at = UserAddr(arg2).checked_add(abi::num::to_u64(name.len()))?;
                match cx.read(UserIn::<u8>::new(at))? {
                    0 => break,
                    byte => name.push(byte),
                }
            }
            cx.task().set_name(&name);
        }
        PR_GET_NAME => {
            let name = cx.task().facts().name;
            cx.write_bytes(UserAddr(arg2), &name)?;
        }
        PR_GET_TIMING => return Ok(0),
        PR_SET_TIMING => require(arg2 == 0)?,
        PR_GET_SECCOMP => return Ok(u64::from(cx.task().seccomp_mode().0)),
        PR_SET_SECCOMP => return crate::seccomp::prctl_set(cx, arg2, UserAddr(arg3)),
        PR_CAPBSET_READ => {
            let wanted = Capabilities::from_number(arg2).ok_or(Errno::EINVAL)?;
            return Ok(u64::from(cx.creds().bounding.contains(wanted)));
        }
        PR_CAPBSET_DROP => {
            if !cx.creds().has(Capabilities::SETPCAP) {
                return Err(Errno::EPERM.into());
            }
            let dropped = Capabilities::from_number(arg2).ok_or(Errno::EINVAL)?;
            let mut creds = (*cx.creds()).clone();
            creds.bounding.remove(dropped);
            cx.set_creds(creds);
        }
        PR_GET_TSC => cx.write(out::<i32>(arg2), &1)?,
        // DIFFERS: the time stamp counter cannot be made to fault in a stub.
        PR_SET_TSC => require(arg2 == PR_TSC_ENABLE)?,
        PR_GET_SECUREBITS => return Ok(u64::from(cx.creds().securebits)),
        PR_SET_SECUREBITS => set_securebits(cx, arg2)?,
        PR_SET_TIMERSLACK => {
            cx.task().update_facts(|facts| {
                facts.timer_slack = if arg2 == 0 { facts.default_timer_slack } else { arg2 };
            });
        }
        PR_GET_TIMERSLACK => return Ok(cx.task().facts().timer_slack),
        PR_TASK_PERF_EVENTS_DISABLE | PR_TASK_PERF_EVENTS_ENABLE => {}
        PR_MCE_KILL => require(arg2 <= 1 && arg4 == 0 && arg5 == 0)?,
        PR_MCE_KILL_GET => {
            require(arg2 == 0 && rest_is_zero)?;
            return Ok(2);
        }
        PR_SET_CHILD_SUBREAPER => cx.group().set_subreaper(arg2 != 0),
        PR_GET_CHILD_SUBREAPER => {
            let is_subreaper = i32::from(cx.group().is_subreaper());
            cx.write(out::<i32>(arg2), &is_subreaper)?;
        }
        PR_SET_NO_NEW_PRIVS => {
            require(arg2 == 1 && rest_is_zero)?;
            let creds = Credentials { no_new_privs: true, ..(*cx.creds()).clone() };
            cx.set_creds(creds);
        }
        PR_GET_NO_NEW_PRIVS => {
            require(arg2 == 0 && rest_is_zero)?;
            return Ok(u64::from(cx.creds().no_new_privs));
        }
        PR_GET_TID_ADDRESS => {
            let address = cx.task().facts().clear_child_tid;
            cx.write(out::<u64>(arg2), &address)?;
        }
        PR_SET_THP_DISABLE => {
            require(rest_is_zero)?;
            cx.group().set_thp_disabled(arg2 != 0);
        }
        PR_GET_THP_DISABLE => {
            require(arg2 == 0 && rest_is_zero)?;
            return Ok(u64::from(cx.group().is_thp_disabled()));
        }
        PR_CAP_AMBIENT => return ambient(cx, arg2, arg3, arg4 == 0 && arg5 == 0),
        PR_GET_SPECULATION_CTRL => return speculation(arg2, rest_is_zero, None),
        PR_SET_SPECULATION_CTRL => {
            return speculation(arg2, arg4 == 0 && arg5 == 0, Some(arg3));
        }
        PR_GET_IO_FLUSHER | PR_SET_IO_FLUSHER if !cx.creds().has(Capabilities::SYS_RESOURCE) => {
            return Err(Errno::EPERM.into());
        }
        PR_GET_IO_FLUSHER => {
            require(arg2 == 0 && rest_is_zero)?;
            return Ok(0);
        }
        PR_SET_IO_FLUSHER => require(arg2 <= 1 && rest_is_zero)?,
        // Names of anonymous mappings are for people: accepted and not shown.
        PR_SET_VMA => require(arg2 == PR_SET_VMA_ANON_NAME)?,
        PR_GET_AUXV => return get_auxv(cx, UserAddr(arg2), arg3, arg4 == 0 && arg5 == 0),
        PR_SET_MDWE => require(arg2 == 0 && rest_is_zero)?,
        PR_GET_MDWE => {
            require(arg2 == 0 && rest_is_zero)?;
            return Ok(0);
        }
        PR_SET_PTRACER => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

fn out<T>(address: u64) -> UserOut<T> {
    UserOut::new(UserAddr(address))
}

fn has_bit(creds: &Credentials, bit: SecureBits) -> bool {
    SecureBits::from_bits_retain(creds.securebits).contains(bit)
}

fn set_securebits(cx: &mut Current, value: u64) -> Result<(), Errno> {
    let creds = cx.creds();
    let old = SecureBits::from_bits_retain(creds.securebits);
    let new = u32::try_from(value).ok().and_then(SecureBits::from_bits).ok_or(Errno::EPERM)?;
    // Each lock stands one bit above what it locks.
    let locks = old.bits() & 0xaa;
    let changed = old.bits() ^ new.bits();
    if (locks >> 1 | locks) & changed != 0 || !creds.has(Capabilities::SETPCAP) {
        return Err(Errno::EPERM);
    }
    cx.set_creds(Credentials { securebits: new.bits(), ..(*creds).clone() });
    Ok(())
}

fn ambient(cx: &mut Current, what: u64, cap: u64, rest_is_zero: bool) -> SysResult<u64> {
    let mut creds = (*cx.creds()).clone();
    if what == PR_CAP_AMBIENT_CLEAR_ALL {
        if cap != 0 || !rest_is_zero {
            return Err(Errno::EINVAL.into());
        }
        creds.ambient = Capabilities::empty();
        cx.set_creds(creds);
        return Ok(0);
    }
    let set = Capabilities::from_number(cap).filter(|_| rest_is_zero).ok_or(Errno::EINVAL)?;
    match what {
        PR_CAP_AMBIENT_IS_SET => return Ok(u64::from(creds.ambient.contains(set))),
        PR_CAP_AMBIENT_RAISE => {
            if !creds.permitted.contains(set)
                || !creds.inheritable.contains(set)
                || has_bit(&creds, SecureBits::NO_CAP_AMBIENT_RAISE)
            {
                return Err(Errno::EPERM.into());
            }
            creds.ambient |= set;
        }
        PR_CAP_AMBIENT_LOWER => creds.ambient.remove(set),
        _ => return Err(Errno::EINVAL.into()),
    }
    cx.set_creds(creds);
    Ok(0)
}

/// The host's mitigations hold for the guest; there is nothing to switch.
fn speculation(which: u64, rest_is_zero: bool, change: Option<u64>) -> SysResult<u64> {
    const KINDS: u64 = 3;
    if !rest_is_zero {
        return Err(Errno::EINVAL.into());
    }
    match (which < KINDS, change) {
        (false, _) => Err(Errno::ENODEV.into()),
        (true, None) => Ok(PR_SPEC_NOT_AFFECTED),
        (true, Some(_)) => Err(Errno::ENXIO.into()),
    }
}

fn get_auxv(cx: &mut Current, to: UserAddr, len: u64, rest_is_zero: bool) -> SysResult<u64> {
    if !rest_is_zero {
        return Err(Errno::EINVAL.into());
    }
    let auxv = cx.mm().program().auxv;
    let end = [(0, 0)];
    let words = auxv.iter().chain(&end).flat_map(|(kind, value)| [*kind, *value]);
    let bytes: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
    let told = bytes.len().min(usize::try_from(len).unwrap_or(usize::MAX));
    cx.write_bytes(to, bytes.get(..told).unwrap_or(&bytes))?;
    Ok(abi::num::to_u64(bytes.len()))
}

/// `PTRACE_ARCH_PRCTL`: arch_prctl(2) on a tracee's registers, with the tracer's memory.
pub(crate) fn arch_of_tracee(
    cx: &mut Current,
    tracee: &Task,
    option: ArchPrctlOption,
    addr: UserAddr,
) -> Result<u64, Errno> {
    let base = match option.0 {
        ARCH_GET_FS => have_done(tracee, |cx| Ok(cx.registers().fs_base))?,
        ARCH_GET_GS => have_done(tracee, |cx| Ok(cx.registers().gs_base))?,
        ARCH_SET_FS | ARCH_SET_GS => {
            let set = move |cx: &mut Current| Ok(arch_prctl(cx, option, addr).is_ok());
            let is_set = have_done(tracee, set)?;
            return if is_set { Ok(0) } else { Err(Errno::EPERM) };
        }
        _ => return Err(Errno::EINVAL),
    };
    cx.write(UserOut::new(addr), &base).map(|()| 0)
}

/// arch_prctl(2)
pub fn arch_prctl(cx: &mut Current, option: ArchPrctlOption, arg2: UserAddr) -> SysResult {
    match option.0 {
        ARCH_SET_FS | ARCH_SET_GS if arg2.raw() >= TASK_SIZE => return Err(Errno::EPERM.into()),
        ARCH_SET_FS => cx.registers_mut().fs_base = arg2.raw(),
        ARCH_SET_GS => cx.registers_mut().gs_base = arg2.raw(),
        ARCH_GET_FS => {
            let base = cx.registers().fs_base;
            cx.write(UserOut::new(arg2), &base)?;
        }
        ARCH_GET_GS => {
            let base = cx.registers().gs_base;
            cx.write(UserOut::new(arg2), &base)?;
        }
        // DIFFERS: cpuid cannot be made to fault in a stub.
        ARCH_SET_CPUID => return Err(Errno::ENODEV.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(())
}
