// SPDX-License-Identifier: Apache-2.0
//! A small assembler for classic BPF, as far as seccomp filters need it.
//!
//! The stub's filter looks at the instruction pointer, which seccompiler cannot. Labels are only
//! ever jumped to forwards, which is all that BPF can do.

/// One instruction: the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
pub(crate) struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// `SECCOMP_RET_ALLOW`.
const ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_USER_NOTIF`.
const NOTIFY: u32 = 0x7fc0_0000;
/// `SECCOMP_RET_TRAP`.
const TRAP: u32 = 0x0003_0000;

/// `SECCOMP_RET_ERRNO`.
const ERRNO: u32 = 0x0005_0000;

/// A word of `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Word {
    /// The number.
    Number,
    /// `AUDIT_ARCH_*`.
    Arch,
    /// The instruction pointer's lower half.
    PointerLow,
    /// Its upper half.
    PointerHigh,
    /// The lower half of an argument.
    ArgLow(u32),
    /// The upper half of an argument.
    ArgHigh(u32),
}

impl Word {
    fn offset(self) -> u32 {
        match self {
            Word::Number => 0,
            Word::Arch => 4,
            Word::PointerLow => 8,
            Word::PointerHigh => 12,
            Word::ArgLow(index) => 16 + 8 * index,
            Word::ArgHigh(index) => 20 + 8 * index,
        }
    }
}

/// Where a jump goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// A program being written. The accumulator is whatever was loaded last.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    code: Vec<(Instruction, Option<Label>)>,
    labels: Vec<Option<usize>>,
}

impl Assembler {
    /// A label to be placed later.
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Places `label` here.
    pub(crate) fn place(&mut self, label: Label) {
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(self.code.len());
        }
    }

    /// Loads `word`.
    pub(crate) fn load(&mut self, word: Word) {
        self.push(LOAD, word.offset(), None);
    }

    /// Keeps the bits in `mask`.
    pub(crate) fn and(&mut self, mask: u32) {
        self.push(AND, mask, None);
    }

    /// Goes to `label` when the accumulator is `value`.
    pub(crate) fn if_equal(&mut self, value: u32, label: Label) {
        self.jump_if(JUMP_EQUAL, value, label);
    }

    /// Goes to `label` when the accumulator is not `value`.
    pub(crate) fn unless_equal(&mut self, value: u32, label: Label) {
        // Over the jump when equal.
        self.code.push((instruction(JUMP_EQUAL, 1, 0, value), None));
        self.push(JUMP, 0, Some(label));
    }

    /// Goes to `label` when the accumulator is `value` or more.
    pub(crate) fn if_at_least(&mut self, value: u32, label: Label) {
        self.jump_if(JUMP_GREATER_EQUAL, value, label);
    }

    /// Goes to `label` when the accumulator is below `value`.
    pub(crate) fn if_below(&mut self, value: u32, label: Label) {
        self.code.push((instruction(JUMP_GREATER_EQUAL, 1, 0, value), None));
        self.push(JUMP, 0, Some(label));
    }

    /// Goes to `label`.
    pub(crate) fn jump(&mut self, label: Label) {
        self.push(JUMP, 0, Some(label));
    }

    /// The call happens.
    pub(crate) fn allow(&mut self) {
        self.push(RETURN, ALLOW, None);
    }

    /// The call waits for a verdict.
    pub(crate) fn ask(&mut self) {
        self.push(RETURN, NOTIFY, None);
    }

    /// The call does not happen; the thread gets SIGSYS.
    pub(crate) fn trap(&mut self) {
        self.push(RETURN, TRAP, None);
    }

    /// The call does not happen and fails with `errno`.
    pub(crate) fn fail(&mut self, errno: u16) {
        self.push(RETURN, ERRNO | u32::from(errno), None);
    }

    /// The program. `None` when a label was never placed or lies behind a jump to it.
    pub(crate) fn finish(self) -> Option<Vec<Instruction>> {
        let mut program = Vec::with_capacity(self.code.len());
        for (at, (mut instruction, label)) in self.code.into_iter().enumerate() {
            if let Some(label) = label {
                let target = (*self.labels.get(label.0)?)?;
                instruction.value = u32::try_from(target.checked_sub(at + 1)?).ok()?;
            }
            program.push(instruction);
        }
        Some(program)
    }

    // A conditional jump reaches 255 instructions, an unconditional one any; so every condition is
    // a hop over an unconditional jump.
    fn jump_if(&mut self, code: u16, value: u32, label: Label) {
        self.code.push((instruction(code, 0, 1, value), None));
        self.push(JUMP, 0, Some(label));
    }

    fn push(&mut self, code: u16, value: u32, label: Option<Label>) {
        self.code.push((instruction(code, 0, 0, value), label));
    }
}

const fn instruction(code: u16, if_true: u8, if_false: u8, value: u32) -> Instruction {
    Instruction { code, if_true, if_false, value }
}
