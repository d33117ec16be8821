// SPDX-License-Identifier: Apache-2.0
//! argv and envp: read from the guest, counted, changed by scripts.

use abi::{
    Errno, UserAddr, UserCStr, UserIn,
    limits::{ARG_MAX, MAX_ARG_STRLEN},
    num::to_usize,
};
use platform::Context;

use super::script::Interpreter;
use crate::mm::user;

/// Strings together, at most (three quarters of Linux's `_STK_LIM`).
const MOST: usize = 6 << 20;

/// A program's arguments and environment, and how much room they have left.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    /// argv.
    pub arguments: Vec<Vec<u8>>,
    /// envp.
    pub environment: Vec<Vec<u8>>,
    room: usize,
}

/// How many bytes argv and envp may have: a quarter of the stack, within bounds.
fn limit(stack: u64) -> usize {
    to_usize((stack / 4).min(u64::MAX >> 1)).clamp(ARG_MAX, MOST)
}

/// Reads argv or envp: at most as many strings and bytes as could ever pass. NULL is empty.
pub fn read_strings(
    cx: &mut dyn Context,
    vector: UserIn<UserCStr>,
    stack: u64,
) -> Result<Vec<Vec<u8>>, Errno> {
    let mut room = limit(stack);
    let pointers = user::read_pointers(cx, vector.cast::<UserAddr>(), room / 8)?;
    let mut strings = Vec::with_capacity(pointers.len());
    for pointer in pointers {
        let string = user::read_string_limited(cx, UserCStr(pointer), MAX_ARG_STRLEN)?;
        let string = string.ok_or(Errno::E2BIG)?;
        room = room.checked_sub(string.len() + 1).ok_or(Errno::E2BIG)?;
        strings.push(string);
    }
    Ok(strings)
}

impl Arguments {
    /// These, not yet counted.
    pub fn new(arguments: Vec<Vec<u8>>, environment: Vec<Vec<u8>>) -> Arguments {
        Arguments { arguments, environment, room: 0 }
    }

    /// Counts them with the name of the file: `E2BIG` if they are too many for the stack
    /// (bprm_stack_limits()). A program always gets an `argv[0]`, be it empty.
    pub(super) fn admit(&mut self, path: &[u8], stack: u64) -> Result<(), Errno> {
        let count = self.arguments.len().max(1) + self.environment.len();
        self.room = count
            .checked_mul(8)
            .and_then(|pointers| limit(stack).checked_sub(pointers))
            .filter(|&room| room > 0)
            .ok_or(Errno::E2BIG)?;
        self.spend(path.len())?;
        if self.arguments.is_empty() {
            self.arguments.push(Vec::new());
        }
        let lens: Vec<usize> =
            self.environment.iter().chain(&self.arguments).map(Vec::len).collect();
        lens.into_iter().try_for_each(|len| self.spend(len))
    }

    fn spend(&mut self, len: usize) -> Result<(), Errno> {
        if len >= MAX_ARG_STRLEN {
            return Err(Errno::E2BIG);
        }
        self.room = self.room.checked_sub(len + 1).ok_or(Errno::E2BIG)?;
        Ok(())
    }

    /// `script` is run by `interpreter`: its name takes the place of `argv[0]`.
    pub(super) fn interpret(
        &mut self,
        script: &[u8],
        interpreter: &Interpreter,
    ) -> Result<(), Errno> {
        let mut front = vec![interpreter.path.clone()];
        front.extend(interpreter.argument.clone());
        front.push(script.to_vec());
        front.iter().map(Vec::len).try_for_each(|len| self.spend(len))?;
        let first = self.arguments.len().min(1);
        self.arguments.splice(..first, front);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use abi::Errno;

    use super::{Arguments, Interpreter};

    #[test]
    fn scripts_shift_the_arguments() {
        let strings = |list: &[&str]| -> Vec<Vec<u8>> {
            list.iter().map(|text| text.as_bytes().to_vec()).collect()
        };
        let mut arguments = Arguments::new(strings(&["x", "1"]), vec![]);
        arguments.admit(b"./run", 8 << 20).expect("small");
        let interpreter = Interpreter { path: b"/bin/sh".to_vec(), argument: Some(b"-e".to_vec()) };
        arguments.interpret(b"./run", &interpreter).expect("small");
        assert_eq!(arguments.arguments, strings(&["/bin/sh", "-e", "./run", "1"]));
    }

    #[test]
    fn too_much_is_refused() {
        let long = vec![b'x'; 131_071];
        let mut fits = Arguments::new(vec![long.clone()], vec![]);
        assert_eq!(fits.admit(b"x", 8 << 20), Ok(()));
        let longer = vec![b'x'; 131_072];
        let mut refused = Arguments::new(vec![longer], vec![]);
        assert_eq!(refused.admit(b"x", 8 << 20), Err(Errno::E2BIG));
        let mut many = Arguments::new(vec![long; 17], vec![]);
        assert_eq!(many.admit(b"x", 8 << 20), Err(Errno::E2BIG));
        let mut none = Arguments::new(vec![], vec![]);
        assert_eq!(none.admit(b"x", 0), Ok(()));
        assert_eq!(none.arguments, vec![Vec::<u8>::new()]);
        let mut tight = Arguments::new(vec![vec![]; 16_384], vec![]);
        assert_eq!(tight.admit(b"x", 0), Err(Errno::E2BIG));
    }
}
