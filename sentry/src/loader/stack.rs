// SPDX-License-Identifier: Apache-2.0
//! A new program's stack, laid out as Linux's create_elf_tables() leaves it.
//!
//! From the top: a zero word, the file's name, the environment's and the arguments' strings; the
//! platform's name, sixteen random bytes; then, downwards to the stack pointer, the auxiliary vector, the
//! pointers to the environment and to the arguments, and their number.

use abi::{Errno, UserAddr, UserRange, num::to_u64};
use platform::{Context, Protection};

use super::{
    Arguments,
    auxv::{Facts, Places},
};
use crate::mm::{Limits, MemoryManager, ProgramInfo, Vma, VmaFlags, page_align, user};

/// Mapped at first, if the limit allows: the host serves it. What grows beyond asks the sentry.
const FIRST: u64 = 8 << 20;
/// Room below the arguments that a program has whatever its limit says (setup_arg_pages()).
const LEAST_ROOM: u64 = 128 << 10;
/// `AT_PLATFORM`.
const PLATFORM: &[u8] = b"x86_64\0";

/// What goes on the stack.
pub(super) struct Plan<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) path: &'a [u8],
    pub(super) is_executable: bool,
    /// `RLIMIT_STACK`.
    pub(super) limit: u64,
    /// By how many bytes the pointer is moved at random.
    pub(super) shift: u64,
    pub(super) random: [u8; 16],
}

/// A stack that is ready.
pub(super) struct Built {
    /// The stack pointer at the entry.
    pub(super) pointer: UserAddr,
    /// Where the parts are.
    pub(super) program: ProgramInfo,
}

/// Bytes below `top`, filled from the top down.
struct Image {
    top: u64,
    /// Pieces with their addresses.
    pieces: Vec<(u64, Vec<u8>)>,
    at: u64,
}

impl Image {
    fn push(&mut self, bytes: Vec<u8>) -> Result<UserAddr, Errno> {
        self.at = self.at.checked_sub(to_u64(bytes.len())).ok_or(Errno::ENOMEM)?;
        self.pieces.push((self.at, bytes));
        Ok(UserAddr(self.at))
    }

    /// Strings one behind the other, the first lowest: their addresses, and where they end.
    fn push_strings(&mut self, strings: &[Vec<u8>]) -> Result<(Vec<u64>, u64), Errno> {
        let mut bytes = Vec::new();
        let mut offsets = Vec::with_capacity(strings.len());
        for string in strings {
            offsets.push(to_u64(bytes.len()));
            bytes.extend_from_slice(string);
            bytes.push(0);
        }
        let end = self.at;
        let start = self.push(bytes)?.raw();
        Ok((offsets.into_iter().map(|offset| start + offset).collect(), end))
    }

    /// The pieces from the lowest on, those that touch (but for alignment) in one: each costs a host call.
    fn runs(&self) -> Vec<(u64, Vec<u8>)> {
        let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
        for (at, bytes) in self.pieces.iter().rev() {
            let gap = runs.last().map(|(start, run)| at.saturating_sub(start + to_u64(run.len())));
            match (runs.last_mut(), gap) {
                (Some((_, run)), Some(gap @ 0..16)) => {
                    run.extend((0..gap).map(|_| 0));
                    run.extend_from_slice(bytes);
                }
                _ => runs.push((*at, bytes.clone())),
            }
        }
        runs
    }
}

impl Plan<'_> {
    /// Maps the stack and writes it.
    pub(super) fn build(
        &self,
        mm: &MemoryManager,
        cx: &mut dyn Context,
        limits: &Limits,
        facts: &Facts<'_>,
    ) -> Result<Built, Errno> {
        let top = mm.layout().stack_top.raw();
        let mut image = Image { top, pieces: Vec::new(), at: top };
        image.push(vec![0; 8])?;
        let path = image.push([self.path, b"\0"].concat())?;
        let (environment, env_end) = image.push_strings(&self.arguments.environment)?;
        let env_start = image.at;
        let (arguments, arg_end) = image.push_strings(&self.arguments.arguments)?;
        let arg_start = image.at;

        // arch_align_stack(), then what the vector points to.
        image.at = image.at.saturating_sub(self.shift) & !0xf;
        let platform = image.push(PLATFORM.to_vec())?;
        let random = image.push(self.random.to_vec())?;
        let auxv = facts.entries(&Places { random, path, platform });
        let mut words = vec![to_u64(arguments.len())];
        words.extend(arguments);
        words.push(0);
        words.extend(environment);
        words.push(0);
        words.extend(auxv.iter().flat_map(|&(kind, value)| [kind, value]));
        words.extend([0, 0]);
        let size = to_u64(words.len()) * 8;
        let pointer = image.at.checked_sub(size).ok_or(Errno::ENOMEM)? & !0xf;
        image.at = pointer + size;
        image.push(words.iter().flat_map(|word| word.to_le_bytes()).collect())?;

        self.map(mm, cx, limits, &image)?;
        for (at, bytes) in image.runs() {
            user::write_bytes(cx, UserAddr(at), &bytes)?;
        }
        let program = ProgramInfo {
            start_stack: pointer,
            arg_start,
            arg_end,
            env_start,
            env_end,
            auxv: auxv.into(),
            ..ProgramInfo::default()
        };
        Ok(Built { pointer: UserAddr(pointer), program })
    }

    fn map(
        &self,
        mm: &MemoryManager,
        cx: &mut dyn Context,
        limits: &Limits,
        image: &Image,
    ) -> Result<(), Errno> {
        let used = image.top - image.at;
        let size = self.limit.min(FIRST).max(used + LEAST_ROOM);
        let size = page_align(size).ok_or(Errno::ENOMEM)?;
        let start = image.top.checked_sub(size).ok_or(Errno::ENOMEM)?;
        let range = UserRange { start: UserAddr(start), end: UserAddr(image.top) };
        let mut protection = Protection::READ | Protection::WRITE;
        protection.set(Protection::EXECUTE, self.is_executable);
        let vma = Vma::anonymous(protection, VmaFlags::GROWS_DOWN | VmaFlags::NO_RESERVE);
        // The kernel makes room for the stack itself: RLIMIT_AS alone counts.
        mm.map_fixed(cx, &Limits { data: u64::MAX, ..*limits }, range, vma)
    }
}
