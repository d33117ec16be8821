// SPDX-License-Identifier: Apache-2.0
//! Where things go in an address space, with Linux's randomness.

use abi::{PAGE_SIZE, UserAddr, UserRange};

use super::{TASK_SIZE, page_align, vma_set::STACK_GUARD};

/// Bits of a random page number of mmap(2)'s base (`CONFIG_ARCH_MMAP_RND_BITS` of x86-64's default).
const MAP_BITS: u32 = 28;
/// Pages by which the stack's top is moved at most, as bits (`STACK_RND_MASK`).
const STACK_BITS: u32 = 22;
/// How far the program break is moved at most (arch_randomize_brk()).
const BRK_SPREAD: u64 = 1 << 30;
/// Room that mmap(2) leaves to the stack, at least.
const MIN_STACK_GAP: u64 = 128 << 20;

/// The fixed places of an address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// What the guest may use.
    pub user: UserRange,
    /// The end of the stack.
    pub stack_top: UserAddr,
    /// mmap(2) goes downwards from here.
    pub map_base: UserAddr,
    /// Where position-independent programs go.
    pub program_base: UserAddr,
    /// How far the break is moved above the program.
    pub brk_offset: u64,
    /// Where `MAP_32BIT` begins to look.
    pub low_base: UserAddr,
}

impl Layout {
    /// A layout in `user` for a program whose `RLIMIT_STACK` is `stack_limit`. `random` gives a random
    /// number; without it (`ADDR_NO_RANDOMIZE`) every place is the same each time.
    pub fn new(
        user: UserRange,
        stack_limit: u64,
        random: Option<&mut dyn FnMut() -> u64>,
    ) -> Layout {
        let mut zero = || 0;
        let random = random.unwrap_or(&mut zero);
        let mut pages = |bits: u32| (random() & ((1 << bits) - 1)) * PAGE_SIZE;
        let end = user.end.raw();
        let stack_top = end - pages(STACK_BITS);
        // mmap_base() of Linux's `arch/x86/mm/mmap.c`.
        let pad = (1 << STACK_BITS) * PAGE_SIZE + STACK_GUARD;
        let gap = stack_limit.saturating_add(pad).clamp(MIN_STACK_GAP, end / 6 * 5);
        let map_base = (end - gap).saturating_sub(pages(MAP_BITS)) & !(PAGE_SIZE - 1);
        let program_base = (TASK_SIZE / 3 * 2 & !(PAGE_SIZE - 1)) + pages(MAP_BITS);
        Layout {
            user,
            stack_top: UserAddr(stack_top),
            map_base: UserAddr(map_base),
            program_base: UserAddr(program_base),
            brk_offset: pages(64 - BRK_SPREAD.leading_zeros() - 1 - 12),
            low_base: UserAddr(0x4000_0000 + pages(13)),
        }
    }

    /// The break of a program that ends at `end`.
    pub fn brk_start(&self, end: u64) -> u64 {
        page_align(end).unwrap_or(end).saturating_add(self.brk_offset)
    }
}

#[cfg(test)]
mod tests {
    use abi::{UserAddr, UserRange};

    use super::Layout;

    #[test]
    fn everything_is_inside_and_in_order() {
        let user = UserRange { start: UserAddr(0x10000), end: UserAddr(0x7f00_0000_0000) };
        for (value, limit) in [(0, 8 << 20), (u64::MAX, 8 << 20), (u64::MAX, u64::MAX), (0, 0)] {
            let mut random = || value;
            let layout = Layout::new(user, limit, Some(&mut random));
            assert!(layout.map_base < layout.stack_top && layout.stack_top <= user.end);
            assert!(layout.map_base.raw() > 0x1000_0000_0000, "{layout:?}");
            assert!(layout.program_base.raw() + (1 << 31) < user.end.raw());
            assert!(layout.low_base.raw() < 0x8000_0000);
        }
        let plain = Layout::new(user, 8 << 20, None);
        assert_eq!(plain.stack_top, user.end);
        assert_eq!(plain.program_base.raw(), 0x5555_5555_4000);
    }
}
