// SPDX-License-Identifier: Apache-2.0
//! A classic BPF program that decides about calls: checked once, then run without a doubt.
//!
//! What is accepted is what `bpf_check_classic` and `seccomp_check_filter` of Linux accept. Jumps lead
//! forward alone, so a run takes no more steps than the program has instructions.

use abi::{
    Errno,
    num::to_u64,
    seccomp::{
        BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_DIV, BPF_IMM, BPF_JA, BPF_JEQ, BPF_JGE,
        BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_LEN, BPF_LSH, BPF_MAXINSNS,
        BPF_MEM, BPF_MEMWORDS, BPF_MISC, BPF_MUL, BPF_NEG, BPF_OR, BPF_RET, BPF_RSH, BPF_ST,
        BPF_STX, BPF_SUB, BPF_TAX, BPF_TXA, BPF_W, BPF_X, BPF_XOR, SockFilter,
    },
};

/// Words of what a program looks at: the call's number, the architecture, the address and six arguments.
pub(super) const DATA_WORDS: usize = 16;

/// The first two words are known without making the call: its number and the architecture.
const CONSTANT_WORDS: usize = 2;

/// Calls below this number are decided in advance where that can be done.
const CACHED: usize = 512;

/// The other side of an operation.
#[derive(Debug, Clone, Copy)]
enum Operand {
    Constant(u32),
    Index,
}

#[derive(Debug, Clone, Copy)]
enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

#[derive(Debug, Clone, Copy)]
enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
    AnyBit,
}

/// An instruction whose numbers have been checked.
#[derive(Debug, Clone, Copy)]
enum Step {
    Load(usize),
    LoadConstant(u32),
    LoadMemory(usize),
    LoadIndex(u32),
    LoadIndexMemory(usize),
    Store(usize),
    StoreIndex(usize),
    Compute(Arithmetic, Operand),
    Negate,
    Jump(usize),
    Branch { test: Test, with: Operand, yes: usize, no: usize },
    Return(u32),
    ReturnAccumulator,
    ToIndex,
    FromIndex,
}

/// A program that may be run.
#[derive(Debug)]
pub(super) struct Program {
    steps: Box<[Step]>,
}

impl Program {
    /// Checks what the guest handed in.
    pub(super) fn new(code: &[SockFilter]) -> Result<Program, Errno> {
        if code.is_empty() || code.len() > BPF_MAXINSNS {
            return Err(Errno::EINVAL);
        }
        let steps: Option<Box<[Step]>> =
            code.iter().enumerate().map(|(at, it)| step(*it, code.len() - at - 1)).collect();
        let steps = steps.ok_or(Errno::EINVAL)?;
        let ends = matches!(steps.last(), Some(Step::Return(_) | Step::ReturnAccumulator));
        if !ends || !loads_what_was_stored(&steps) {
            return Err(Errno::EINVAL);
        }
        Ok(Program { steps })
    }

    /// How many instructions it has.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// What it says of a call.
    pub(super) fn run(&self, data: &[u32; DATA_WORDS]) -> u32 {
        // A checked program loads nothing beyond the data, and always returns.
        self.follow(data).unwrap_or(0)
    }

    /// What it says of a call whatever its arguments; `None` if it looks at them.
    fn run_constant(&self, number: u32, arch: u32) -> Option<u32> {
        self.follow(&[number, arch] as &[u32; CONSTANT_WORDS])
    }

    /// The calls below [`CACHED`] that it allows whatever their arguments, a bit each.
    pub(super) fn always_allowed(&self, arch: u32, allow: u32) -> Allowed {
        let mut allowed = Allowed::default();
        for number in 0..CACHED {
            let said = u32::try_from(number).ok().and_then(|it| self.run_constant(it, arch));
            if said == Some(allow) {
                allowed.insert(number);
            }
        }
        allowed
    }

    /// Runs to the end; `None` at a load of what `data` does not have.
    fn follow(&self, data: &[u32]) -> Option<u32> {
        let mut accumulator = 0u32;
        let mut index = 0u32;
        let mut memory = [0u32; BPF_MEMWORDS];
        let mut at = 0;
        loop {
            let step = *self.steps.get(at)?;
            at += 1;
            let value = |operand| match operand {
                Operand::Constant(value) => value,
                Operand::Index => index,
            };
            match step {
                Step::Load(word) => accumulator = *data.get(word)?,
                Step::LoadConstant(value) => accumulator = value,
                Step::LoadMemory(word) => accumulator = *memory.get(word)?,
                Step::LoadIndex(value) => index = value,
                Step::LoadIndexMemory(word) => index = *memory.get(word)?,
                Step::Store(word) => *memory.get_mut(word)? = accumulator,
                Step::StoreIndex(word) => *memory.get_mut(word)? = index,
                Step::Compute(operation, with) => {
                    match compute(operation, accumulator, value(with)) {
                        Some(result) => accumulator = result,
                        // A division by zero ends the program with 0.
                        None => return Some(0),
                    }
                }
                Step::Negate => accumulator = accumulator.wrapping_neg(),
                Step::Jump(over) => at += over,
                Step::Branch { test, with, yes, no } => {
                    at += if holds(test, accumulator, value(with)) { yes } else { no };
                }
                Step::Return(value) => return Some(value),
                Step::ReturnAccumulator => return Some(accumulator),
                Step::ToIndex => index = accumulator,
                Step::FromIndex => accumulator = index,
            }
        }
    }
}

fn compute(operation: Arithmetic, left: u32, right: u32) -> Option<u32> {
    Some(match operation {
        Arithmetic::Add => left.wrapping_add(right),
        Arithmetic::Subtract => left.wrapping_sub(right),
        Arithmetic::Multiply => left.wrapping_mul(right),
        Arithmetic::Divide => left.checked_div(right)?,
        Arithmetic::And => left & right,
        Arithmetic::Or => left | right,
        Arithmetic::Xor => left ^ right,
        // As the machine does it: by the low five bits.
        Arithmetic::ShiftLeft => left.wrapping_shl(right),
        Arithmetic::ShiftRight => left.wrapping_shr(right),
    })
}

fn holds(test: Test, left: u32, right: u32) -> bool {
    match test {
        Test::Equal => left == right,
        Test::Greater => left > right,
        Test::GreaterOrEqual => left >= right,
        Test::AnyBit => left & right != 0,
    }
}

/// One instruction with `after` more behind it; `None` if a filter may not have it.
fn step(code: SockFilter, after: usize) -> Option<Step> {
    const LD_ABS: u16 = BPF_LD | BPF_W | BPF_ABS;
    const LD_LEN: u16 = BPF_LD | BPF_W | BPF_LEN;
    const LDX_LEN: u16 = BPF_LDX | BPF_W | BPF_LEN;
    const LD_IMM: u16 = BPF_LD | BPF_IMM;
    const LDX_IMM: u16 = BPF_LDX | BPF_IMM;
    const LD_MEM: u16 = BPF_LD | BPF_MEM;
    const LDX_MEM: u16 = BPF_LDX | BPF_MEM;
    const RET_K: u16 = BPF_RET | BPF_K;
    const RET_A: u16 = BPF_RET | BPF_A;
    const NEG: u16 = BPF_ALU | BPF_NEG;
    const TAX: u16 = BPF_MISC | BPF_TAX;
    const TXA: u16 = BPF_MISC | BPF_TXA;
    const JA: u16 = BPF_JMP | BPF_JA;
    const SIZE_OF_DATA: u32 = 64;
    let k = code.k;
    let constant = usize::try_from(k).ok()?;
    let memory = Some(constant).filter(|word| *word < BPF_MEMWORDS);
    Some(match code.code {
        LD_ABS if k < SIZE_OF_DATA && k.is_multiple_of(4) => Step::Load(constant / 4),
        LD_LEN => Step::LoadConstant(SIZE_OF_DATA),
        LDX_LEN => Step::LoadIndex(SIZE_OF_DATA),
        LD_IMM => Step::LoadConstant(k),
        LDX_IMM => Step::LoadIndex(k),
        LD_MEM => Step::LoadMemory(memory?),
        LDX_MEM => Step::LoadIndexMemory(memory?),
        BPF_ST => Step::Store(memory?),
        BPF_STX => Step::StoreIndex(memory?),
        RET_K => Step::Return(k),
        RET_A => Step::ReturnAccumulator,
        NEG => Step::Negate,
        TAX => Step::ToIndex,
        TXA => Step::FromIndex,
        JA if constant < after => Step::Jump(constant),
        other => return with_operand(other, code, after),
    })
}

/// An instruction whose other side is a constant or the index register.
fn with_operand(number: u16, code: SockFilter, after: usize) -> Option<Step> {
    let with = if number & BPF_X == 0 { Operand::Constant(code.k) } else { Operand::Index };
    let kind = number & !BPF_X;
    let is = |class: u16, operation: u16| kind == class | operation;
    let test = match kind {
        _ if is(BPF_JMP, BPF_JEQ) => Some(Test::Equal),
        _ if is(BPF_JMP, BPF_JGT) => Some(Test::Greater),
        _ if is(BPF_JMP, BPF_JGE) => Some(Test::GreaterOrEqual),
        _ if is(BPF_JMP, BPF_JSET) => Some(Test::AnyBit),
        _ => None,
    };
    if let Some(test) = test {
        let (yes, no) = (usize::from(code.jt), usize::from(code.jf));
        return (yes < after && no < after).then_some(Step::Branch { test, with, yes, no });
    }
    let is_bad_constant =
        |limit: fn(u32) -> bool| matches!(with, Operand::Constant(value) if !limit(value));
    let operation = match kind {
        _ if is(BPF_ALU, BPF_ADD) => Arithmetic::Add,
        _ if is(BPF_ALU, BPF_SUB) => Arithmetic::Subtract,
        _ if is(BPF_ALU, BPF_MUL) => Arithmetic::Multiply,
        _ if is(BPF_ALU, BPF_DIV) && !is_bad_constant(|value| value != 0) => Arithmetic::Divide,
        _ if is(BPF_ALU, BPF_AND) => Arithmetic::And,
        _ if is(BPF_ALU, BPF_OR) => Arithmetic::Or,
        _ if is(BPF_ALU, BPF_XOR) => Arithmetic::Xor,
        _ if is(BPF_ALU, BPF_LSH) && !is_bad_constant(|bits| bits < 32) => Arithmetic::ShiftLeft,
        _ if is(BPF_ALU, BPF_RSH) && !is_bad_constant(|bits| bits < 32) => Arithmetic::ShiftRight,
        _ => return None,
    };
    Some(Step::Compute(operation, with))
}

/// Whether every load from memory follows a store on each way that leads to it
/// (`check_load_and_stores`).
fn loads_what_was_stored(steps: &[Step]) -> bool {
    const ALL: u16 = u16::MAX;
    let mut arriving = vec![ALL; steps.len()];
    let mut stored = 0u16;
    let bit = |word: usize| 1u16.checked_shl(u32::try_from(word).unwrap_or(u32::MAX)).unwrap_or(0);
    for (at, step) in steps.iter().enumerate() {
        stored &= arriving.get(at).copied().unwrap_or(ALL);
        let mut lead = |over: usize| {
            if let Some(there) = arriving.get_mut(at + 1 + over) {
                *there &= stored;
            }
        };
        match *step {
            Step::Store(word) | Step::StoreIndex(word) => stored |= bit(word),
            Step::LoadMemory(word) | Step::LoadIndexMemory(word) if stored & bit(word) == 0 => {
                return false;
            }
            Step::Jump(over) => {
                lead(over);
                stored = ALL;
            }
            Step::Branch { yes, no, .. } => {
                lead(yes);
                lead(no);
                stored = ALL;
            }
            _ => {}
        }
    }
    true
}

/// Calls that need not be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed([u64; CACHED / 64]);

impl Default for Allowed {
    fn default() -> Allowed {
        Allowed([0; CACHED / 64])
    }
}

impl Allowed {
    fn insert(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    /// Whether it is one of them.
    pub(super) fn contains(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|index| self.0.get(index));
        word.is_some_and(|word| word & 1 << (number % 64) != 0)
    }

    /// Those that are in both.
    pub(super) fn and(mut self, other: &Allowed) -> Allowed {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
        self
    }
}

/// How much of a path's limit a program of this length takes (`MAX_INSNS_PER_PATH`).
pub(super) fn cost(program: &Program) -> u64 {
    const PENALTY: u64 = 4;
    to_u64(program.len()).saturating_add(PENALTY)
}
