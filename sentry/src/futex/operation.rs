// SPDX-License-Identifier: Apache-2.0
//! `FUTEX_WAKE_OP`: change a word, wake, and wake others depending on what it was.

use abi::{
    Errno, UserAddr,
    futex::{
        FUTEX_OP_ADD, FUTEX_OP_ANDN, FUTEX_OP_CMP_EQ, FUTEX_OP_CMP_GE, FUTEX_OP_CMP_GT,
        FUTEX_OP_CMP_LE, FUTEX_OP_CMP_LT, FUTEX_OP_CMP_NE, FUTEX_OP_OPARG_SHIFT, FUTEX_OP_OR,
        FUTEX_OP_SET, FUTEX_OP_XOR,
    },
};

use super::{FutexTable, Key, Word, own};

/// The operation in `val3`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WakeOp {
    operation: i32,
    argument: i32,
    comparison: i32,
    operand: i32,
}

impl WakeOp {
    /// Takes `val3` apart; `ENOSYS` for what Linux does not know.
    pub(super) fn decode(encoded: u32) -> Result<WakeOp, Errno> {
        let field =
            |shift: u32, bits: u32| (encoded << (32 - shift - bits)).cast_signed() >> (32 - bits);
        let operation = (encoded >> 28 & 7).cast_signed();
        let shifts = encoded >> 28 & FUTEX_OP_OPARG_SHIFT.cast_unsigned() != 0;
        let argument = if shifts { 1 << (field(12, 12) & 31) } else { field(12, 12) };
        let comparison = (encoded >> 24 & 15).cast_signed();
        if operation > FUTEX_OP_XOR || comparison > FUTEX_OP_CMP_GE {
            return Err(Errno::ENOSYS);
        }
        Ok(WakeOp { operation, argument, comparison, operand: field(0, 12) })
    }

    fn apply(self, old: u32) -> u32 {
        let argument = self.argument.cast_unsigned();
        match self.operation {
            FUTEX_OP_SET => argument,
            FUTEX_OP_ADD => old.wrapping_add(argument),
            FUTEX_OP_OR => old | argument,
            FUTEX_OP_ANDN => old & !argument,
            _ => old ^ argument,
        }
    }

    fn holds(self, old: u32) -> bool {
        let old = old.cast_signed();
        match self.comparison {
            FUTEX_OP_CMP_EQ => old == self.operand,
            FUTEX_OP_CMP_NE => old != self.operand,
            FUTEX_OP_CMP_LT => old < self.operand,
            FUTEX_OP_CMP_GE => old >= self.operand,
            FUTEX_OP_CMP_LE => old <= self.operand,
            FUTEX_OP_CMP_GT => old > self.operand,
            _ => false,
        }
    }
}

impl FutexTable {
    /// `FUTEX_WAKE_OP`: changes `word` (of `second`), wakes `count` at `first` (which is `first_addr`), and
    /// `second_count` at `second` if the comparison held.
    pub fn wake_op(
        &self,
        word: &mut Word<'_>,
        (first, first_addr): (&Key, UserAddr),
        count: i32,
        second: &Key,
        second_count: i32,
        encoded: u32,
    ) -> Result<u64, Errno> {
        let operation = WakeOp::decode(encoded)?;
        let mut pair = self.lock_both(first, second);
        let is_own = own::are_own(word.context, first) && own::are_own(word.context, second);
        if is_own && !pair.first.is_awaited(first) && !pair.second().is_awaited(second) {
            // Whoever is about to wait here looks at the word under the same locks, afterwards.
            let counts = (count, second_count);
            return own::wake_op(word.context, first_addr, word.addr, counts, encoded);
        }
        let old = word.update(|old| operation.apply(old))?;
        let mut woken = pair.first.wake(first, count, u32::MAX)?;
        let mut woken_there = None;
        if operation.holds(old) {
            woken_there = Some(pair.second().wake(second, second_count, u32::MAX)?);
        }
        drop(pair);
        woken += own::wake_rest(word.context, (first, first_addr), count, u32::MAX, woken)?;
        if let Some(there) = woken_there {
            let addr = (second, word.addr);
            woken += there + own::wake_rest(word.context, addr, second_count, u32::MAX, there)?;
        }
        Ok(woken)
    }
}

#[cfg(test)]
mod tests {
    use abi::Errno;

    use super::WakeOp;

    #[test]
    fn fields_are_signed_and_checked() {
        // FUTEX_OP(FUTEX_OP_ADD, -1, FUTEX_OP_CMP_GT, 1)
        let encoded = 1 << 28 | 4 << 24 | 0xfff << 12 | 1;
        let operation = WakeOp::decode(encoded).expect("known");
        assert_eq!(operation.apply(5), 4);
        assert!(operation.holds(2) && !operation.holds(1) && !operation.holds(u32::MAX));
        // FUTEX_OP_OPARG_SHIFT: or with 1 << 4.
        let shifted = WakeOp::decode((8 | 2) << 28 | 4 << 12).expect("known");
        assert_eq!(shifted.apply(1), 0x11);
        assert_eq!(WakeOp::decode(5 << 28), Err(Errno::ENOSYS));
        assert_eq!(WakeOp::decode(6 << 24), Err(Errno::ENOSYS));
    }
}
