// SPDX-License-Identifier: Apache-2.0
//! `linux.seccomp`, compiled to the program that decides about the guest's calls.
//!
//! What a profile means is what libseccomp and runc make of it: names that this machine does not have are
//! passed over; a rule with the default's own action says nothing; a rule without arguments beats those
//! with; several conditions on one argument are alternatives; calls newer than every call that the
//! profile names fail with `ENOSYS`, not with the default's error, so that programs fall back.

use std::collections::BTreeMap;

use abi::{
    Errno,
    num::Number,
    seccomp::{
        AUDIT_ARCH_X86_64, BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP,
        BPF_K, BPF_LD, BPF_MAXINSNS, BPF_RET, BPF_W, SECCOMP_RET_ALLOW, SECCOMP_RET_DATA,
        SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_LOG,
        SECCOMP_RET_TRACE, SECCOMP_RET_TRAP,
    },
};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg as Arg,
    LinuxSeccompFilterFlag as Flag, LinuxSeccompOperator as Operator,
};
use tracing::debug;

use super::bundle::BundleError;
use crate::sandbox::plan::{Instruction, SeccompFilter};

/// Numbers from here on are x32's.
const X32: u32 = 0x4000_0000;

/// Where the first argument lies in what a program looks at, and how long each is.
const ARGS: u32 = 16;
const ARG_LEN: u32 = 8;

fn refuse<T>(field: &str, why: impl Into<String>) -> Result<T, BundleError> {
    Err(BundleError::field(field, why))
}

/// The program for this profile.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<SeccompFilter, BundleError> {
    let default = action(
        "linux.seccomp.defaultAction",
        profile.default_action(),
        profile.default_errno_ret(),
    )?;
    let rules = rules(profile, default)?;
    let architectures = profile.architectures().as_deref().unwrap_or_default();
    let mut code = vec![
        load(4),
        // Another architecture has no filter here.
        branch(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0),
        finish(SECCOMP_RET_KILL_THREAD),
        load(0),
        branch(BPF_JGE, X32, 0, 1),
        finish(if architectures.contains(&Arch::ScmpArchX32) {
            default
        } else {
            SECCOMP_RET_KILL_THREAD
        }),
    ];
    let is_native = architectures.contains(&Arch::ScmpArchX86_64);
    if let (Some(last), true, false) = (newest(profile), is_native, is_lax(default)) {
        code.extend([
            branch(BPF_JGT, last, 0, 1),
            finish(SECCOMP_RET_ERRNO | errno(Errno::ENOSYS)),
        ]);
    }
    for (number, rules) in &rules {
        let block = block(rules);
        let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
        match u8::try_from(length) {
            Ok(length) => code.push(branch(BPF_JEQ, *number, 0, length)),
            Err(_) => {
                code.extend([branch(BPF_JEQ, *number, 1, 0), (BPF_JMP | BPF_JA, 0, 0, length)])
            }
        }
        code.extend(block);
    }
    code.push(finish(default));
    if code.len() > BPF_MAXINSNS {
        return refuse("linux.seccomp.syscalls", "more rules than a program can have");
    }
    let flags = profile.flags().as_deref().unwrap_or_default();
    for flag in flags {
        match flag {
            Flag::SeccompFilterFlagLog => {}
            Flag::SeccompFilterFlagTsync | Flag::SeccompFilterFlagSpecAllow => {
                debug!("config.json: linux.seccomp.flags: {flag:?} has no effect in a sandbox");
            }
            Flag::SeccompFilterFlagWaitKillableRecv => {
                return refuse("linux.seccomp.flags", "user notification is not supported");
            }
        }
    }
    Ok(SeccompFilter { code, is_logged: flags.contains(&Flag::SeccompFilterFlagLog) })
}

/// What one call is judged by: the first rule all of whose conditions hold.
#[derive(Debug, Default)]
struct Rules {
    always: Option<u32>,
    conditional: Vec<(Vec<Arg>, u32)>,
}

fn rules(profile: &LinuxSeccomp, default: u32) -> Result<BTreeMap<u32, Rules>, BundleError> {
    let numbers = numbers();
    let mut all: BTreeMap<u32, Rules> = BTreeMap::new();
    for (index, call) in profile.syscalls().iter().flatten().enumerate() {
        let at = |field: &str| format!("linux.seccomp.syscalls[{index}].{field}");
        let action = action(&at("action"), call.action(), call.errno_ret())?;
        let args = call.args().as_deref().unwrap_or_default();
        if args.iter().any(|arg| arg.index() > 5) {
            return refuse(&at("args"), "a call has six arguments, counted from 0");
        }
        for name in call.names() {
            if name.is_empty() {
                return refuse(&at("names"), "an empty string is not a call");
            }
            let Some(number) = numbers.get(name.as_str()) else {
                debug!("config.json: {}: no call is named {name}", at("names"));
                continue;
            };
            if action == default {
                continue;
            }
            let rules = all.entry(*number).or_default();
            let is_repeated =
                |arg: &Arg| args.iter().filter(|other| other.index() == arg.index()).count() > 1;
            if args.is_empty() {
                rules.always.get_or_insert(action);
            } else if args.iter().any(is_repeated) {
                rules.conditional.extend(args.iter().map(|arg| (vec![*arg], action)));
            } else {
                rules.conditional.push((args.to_vec(), action));
            }
        }
    }
    Ok(all)
}

/// The numbers of calls by their names.
fn numbers() -> BTreeMap<String, u32> {
    let name = |number: u32| {
        let name = Number(u64::from(number)).name()?.strip_prefix("NR_")?.to_ascii_lowercase();
        Some((name, number))
    };
    (0..1024).filter_map(name).collect()
}

/// The newest call that the profile names.
fn newest(profile: &LinuxSeccomp) -> Option<u32> {
    let numbers = numbers();
    let names = profile.syscalls().iter().flatten().flat_map(|call| call.names());
    names.filter_map(|name| numbers.get(name.as_str()).copied()).max().filter(|last| *last != 0)
}

/// Whether calls that nobody has thought of get through.
fn is_lax(default: u32) -> bool {
    [SECCOMP_RET_ALLOW, SECCOMP_RET_LOG, SECCOMP_RET_TRACE].contains(&(default & !SECCOMP_RET_DATA))
}

fn errno(errno: Errno) -> u32 {
    errno.raw().unsigned_abs()
}

fn action(field: &str, action: Action, value: Option<u32>) -> Result<u32, BundleError> {
    // As runc does, the number is cut to what a filter can say.
    let data = value.unwrap_or(errno(Errno::EPERM)) & SECCOMP_RET_DATA;
    Ok(match action {
        Action::ScmpActKill | Action::ScmpActKillThread => SECCOMP_RET_KILL_THREAD,
        Action::ScmpActKillProcess => SECCOMP_RET_KILL_PROCESS,
        Action::ScmpActTrap => SECCOMP_RET_TRAP,
        Action::ScmpActErrno => SECCOMP_RET_ERRNO | data,
        Action::ScmpActTrace => SECCOMP_RET_TRACE | data,
        Action::ScmpActLog => SECCOMP_RET_LOG,
        Action::ScmpActAllow => SECCOMP_RET_ALLOW,
        Action::ScmpActNotify => {
            return refuse(field, "SCMP_ACT_NOTIFY: user notification is not supported");
        }
    })
}

fn load(offset: u32) -> Instruction {
    (BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)
}

fn branch(test: u16, value: u32, yes: u8, no: u8) -> Instruction {
    (BPF_JMP | test | BPF_K, yes, no, value)
}

fn finish(action: u32) -> Instruction {
    (BPF_RET | BPF_K, 0, 0, action)
}

/// The program of one call. Its number is in the accumulator again at the end, if it comes to that.
fn block(rules: &Rules) -> Vec<Instruction> {
    if let Some(action) = rules.always {
        return vec![finish(action)];
    }
    let mut code = Vec::new();
    for (args, action) in &rules.conditional {
        code.extend(rule(args, *action));
    }
    code.push(load(0));
    code
}

/// Where a test leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// To the next instruction.
    Next,
    /// To the end of the condition: it holds.
    Holds,
    /// To the end of the rule: it does not.
    Fails,
}

#[derive(Debug, Clone, Copy)]
enum Line {
    Plain(Instruction),
    Test(u16, u32, Then, Then),
}

/// One rule: at most six conditions of at most six lines, so that every jump is short.
fn rule(args: &[Arg], action: u32) -> Vec<Instruction> {
    let mut lines = Vec::new();
    // Where each condition ends.
    let mut ends = Vec::new();
    for arg in args {
        let condition = condition(arg);
        let end = lines.len() + condition.len();
        ends.extend(condition.iter().map(|_| end));
        lines.extend(condition);
    }
    let rule_end = lines.len() + 1;
    let resolve = |at: usize, end: usize, then| {
        let target = match then {
            Then::Next => at + 1,
            Then::Holds => end,
            Then::Fails => rule_end,
        };
        u8::try_from(target - at - 1).unwrap_or(u8::MAX)
    };
    let mut code: Vec<Instruction> = Vec::new();
    for (at, (line, end)) in lines.iter().zip(ends).enumerate() {
        code.push(match *line {
            Line::Plain(instruction) => instruction,
            Line::Test(test, value, yes, no) => {
                branch(test, value, resolve(at, end, yes), resolve(at, end, no))
            }
        });
    }
    code.push(finish(action));
    code
}

/// A comparison of 64-bit numbers, the upper half first.
fn condition(arg: &Arg) -> Vec<Line> {
    use Then::{Fails, Holds, Next};
    let half = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap_or(0);
    let (high, low) = (half(arg.value() >> 32), half(arg.value()));
    let offset = ARGS + ARG_LEN * u32::try_from(arg.index()).unwrap_or(0);
    let load_low = Line::Plain(load(offset));
    let load_high = Line::Plain(load(offset + 4));
    let test = |test, value, yes, no| Line::Test(test, value, yes, no);
    // The upper half decides unless it is equal.
    let ordered = |greater, less, last| {
        let upper = test(BPF_JGT, high, greater, Next);
        vec![load_high, upper, test(BPF_JEQ, high, Next, less), load_low, last]
    };
    match arg.op() {
        Operator::ScmpCmpEq => vec![
            load_high,
            test(BPF_JEQ, high, Next, Fails),
            load_low,
            test(BPF_JEQ, low, Next, Fails),
        ],
        Operator::ScmpCmpNe => vec![
            load_high,
            test(BPF_JEQ, high, Next, Holds),
            load_low,
            test(BPF_JEQ, low, Fails, Next),
        ],
        Operator::ScmpCmpGt => ordered(Holds, Fails, test(BPF_JGT, low, Next, Fails)),
        Operator::ScmpCmpGe => ordered(Holds, Fails, test(BPF_JGE, low, Next, Fails)),
        Operator::ScmpCmpLt => ordered(Fails, Holds, test(BPF_JGE, low, Fails, Next)),
        Operator::ScmpCmpLe => ordered(Fails, Holds, test(BPF_JGT, low, Fails, Next)),
        Operator::ScmpCmpMaskedEq => {
            // The value is the mask, the second value what is left under it.
            let datum = arg.value_two().unwrap_or(0) & arg.value();
            let mask = |bits| Line::Plain((BPF_ALU | BPF_AND | BPF_K, 0, 0, bits));
            vec![
                load_high,
                mask(high),
                test(BPF_JEQ, half(datum >> 32), Next, Fails),
                load_low,
                mask(low),
                test(BPF_JEQ, half(datum), Next, Fails),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use sentry::task::seccomp::Inherited;
    use serde_json::json;

    use super::*;

    fn compiled(profile: serde_json::Value) -> Inherited {
        let profile: LinuxSeccomp = serde_json::from_value(profile).unwrap();
        compile(&profile).unwrap().checked().unwrap()
    }

    fn with_arg(op: &str, value: u64, two: u64) -> impl Fn(u64) -> bool {
        let filter = compiled(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{
                "names": ["getpid"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{ "index": 2, "value": value, "valueTwo": two, "op": op }]
            }]
        }));
        move |arg| filter.answer(39, [9, 9, arg, 9, 9, 9]) == SECCOMP_RET_ALLOW
    }

    #[test]
    fn comparisons_are_those_of_64_bits() {
        let wide = 5u64 << 32 | 7;
        let near =
            [0, 1, 6, 7, 8, wide - 1, wide, wide + 1, 4 << 32 | 9, 6 << 32 | 1, u64::MAX, 5 << 32];
        for value in [wide, 7, 0, u64::MAX] {
            for arg in near {
                let holds = |op| with_arg(op, value, 0)(arg);
                assert_eq!(holds("SCMP_CMP_EQ"), arg == value, "{arg:#x} == {value:#x}");
                assert_eq!(holds("SCMP_CMP_NE"), arg != value, "{arg:#x} != {value:#x}");
                assert_eq!(holds("SCMP_CMP_LT"), arg < value, "{arg:#x} < {value:#x}");
                assert_eq!(holds("SCMP_CMP_LE"), arg <= value, "{arg:#x} <= {value:#x}");
                assert_eq!(holds("SCMP_CMP_GT"), arg > value, "{arg:#x} > {value:#x}");
                assert_eq!(holds("SCMP_CMP_GE"), arg >= value, "{arg:#x} >= {value:#x}");
                for two in [0, 7, wide] {
                    let holds = with_arg("SCMP_CMP_MASKED_EQ", value, two)(arg);
                    assert_eq!(holds, arg & value == two & value, "{arg:#x} & {value:#x}");
                }
            }
        }
    }

    #[test]
    fn conditions_on_several_arguments_must_all_hold_and_on_one_any() {
        let arg =
            |index: u32, value: u32| json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" });
        let filter = compiled(json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                { "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 3,
                  "args": [arg(0, 1), arg(1, 2)] },
                { "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4,
                  "args": [arg(3, 1), arg(3, 2)] }
            ]
        }));
        let answer = |args| filter.answer(0, args);
        assert_eq!(answer([1, 2, 0, 0, 0, 0]), SECCOMP_RET_ERRNO | 3);
        assert_eq!(answer([1, 0, 0, 0, 0, 0]), SECCOMP_RET_ALLOW);
        assert_eq!(answer([0, 0, 0, 1, 0, 0]), SECCOMP_RET_ERRNO | 4);
        assert_eq!(answer([0, 0, 0, 2, 0, 0]), SECCOMP_RET_ERRNO | 4);
        assert_eq!(filter.answer(1, [1, 2, 0, 1, 0, 0]), SECCOMP_RET_ALLOW);
    }

    #[test]
    fn calls_newer_than_the_profile_do_not_exist() {
        let profile = |architectures: serde_json::Value, default: &str| {
            compiled(json!({
                "defaultAction": default,
                "architectures": architectures,
                "syscalls": [{ "names": ["read", "close", "no_such_call"],
                               "action": "SCMP_ACT_LOG" }]
            }))
        };
        let strict = profile(json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]), "SCMP_ACT_ERRNO");
        let ask = |filter: &Inherited, number| filter.answer(number, [0; 6]);
        assert_eq!(ask(&strict, 3), SECCOMP_RET_LOG);
        assert_eq!(ask(&strict, 1), SECCOMP_RET_ERRNO | 1);
        assert_eq!(ask(&strict, 4), SECCOMP_RET_ERRNO | 38);
        assert_eq!(ask(&strict, u64::from(X32)), SECCOMP_RET_ERRNO | 1);
        assert_eq!(ask(&profile(json!([]), "SCMP_ACT_ERRNO"), 4), SECCOMP_RET_ERRNO | 1);
        let lax = profile(json!(["SCMP_ARCH_X86_64"]), "SCMP_ACT_ALLOW");
        assert_eq!(ask(&lax, 4), SECCOMP_RET_ALLOW);
        assert_eq!(ask(&lax, u64::from(X32)), SECCOMP_RET_KILL_THREAD);
    }

    #[test]
    fn a_rule_without_arguments_wins() {
        let filter = compiled(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                { "names": ["read"], "action": "SCMP_ACT_TRAP",
                  "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }] },
                { "names": ["read"], "action": "SCMP_ACT_ALLOW" }
            ]
        }));
        assert_eq!(filter.answer(0, [1, 0, 0, 0, 0, 0]), SECCOMP_RET_ALLOW);
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        let arg = json!({ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" });
        for (profile, field) in [
            (json!({ "defaultAction": "SCMP_ACT_NOTIFY" }), "linux.seccomp.defaultAction"),
            (
                json!({ "defaultAction": "SCMP_ACT_ALLOW",
                        "syscalls": [{ "names": ["read"], "action": "SCMP_ACT_NOTIFY" }] }),
                "linux.seccomp.syscalls[0].action",
            ),
            (
                json!({ "defaultAction": "SCMP_ACT_ALLOW",
                        "syscalls": [{ "names": ["read"], "action": "SCMP_ACT_KILL", "args": [arg] }] }),
                "linux.seccomp.syscalls[0].args",
            ),
        ] {
            let profile: LinuxSeccomp = serde_json::from_value(profile).unwrap();
            let message = compile(&profile).unwrap_err().to_string();
            assert!(message.starts_with(field), "{message}");
        }
    }
}
