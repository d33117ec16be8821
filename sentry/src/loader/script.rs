// SPDX-License-Identifier: Apache-2.0
//! `#!` lines, as Linux's `fs/binfmt_script.c` reads them.

use abi::{Errno, limits::BINPRM_BUF_SIZE};

/// What a `#!` line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interpreter {
    pub(super) path: Vec<u8>,
    /// All that follows, as one argument.
    pub(super) argument: Option<Vec<u8>>,
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// A file's first bytes, with zeroes behind its end: the interpreter, or `None` if this is no script.
pub(super) fn parse(buffer: &[u8; BINPRM_BUF_SIZE]) -> Result<Option<Interpreter>, Errno> {
    let Some(text) = buffer.strip_prefix(b"#!") else { return Ok(None) };
    let line = match text.iter().position(|&byte| byte == b'\n') {
        Some(end) => text.get(..end),
        None => {
            // Without a line end the name at least must be whole: something must end it. The last byte
            // of the buffer is only there to hold a terminator.
            let text = text.get(..text.len() - 1).unwrap_or_default();
            let name = text.trim_start_blank().ok_or(Errno::ENOEXEC)?;
            if !name.iter().any(|&byte| is_blank(byte) || byte == 0) {
                return Err(Errno::ENOEXEC);
            }
            Some(text)
        }
    };
    let line = line.unwrap_or_default();
    let kept = line.iter().rposition(|&byte| !is_blank(byte)).map_or(0, |last| last + 1);
    let line = line.get(..kept).unwrap_or_default();
    let line = line.trim_start_blank().ok_or(Errno::ENOEXEC)?;
    let end = line.iter().position(|&byte| is_blank(byte) || byte == 0).unwrap_or(line.len());
    let (path, rest) = line.split_at_checked(end).unwrap_or((line, &[]));
    let argument = match rest.first() {
        // A string ends at its NUL, whatever follows on the line.
        None | Some(0) => None,
        Some(_) => rest.trim_start_blank().map(|argument| {
            let end = argument.iter().position(|&byte| byte == 0).unwrap_or(argument.len());
            argument.get(..end).unwrap_or_default().to_vec()
        }),
    };
    Ok(Some(Interpreter { path: path.to_vec(), argument }))
}

trait TrimBlank {
    /// Without spaces and tabs at the front; `None` if nothing else is there.
    fn trim_start_blank(&self) -> Option<&[u8]>;
}

impl TrimBlank for [u8] {
    fn trim_start_blank(&self) -> Option<&[u8]> {
        let start = self.iter().position(|&byte| !is_blank(byte))?;
        self.get(start..)
    }
}

#[cfg(test)]
mod tests {
    use abi::{Errno, limits::BINPRM_BUF_SIZE};

    use super::{Interpreter, parse};

    fn parsed(text: &[u8]) -> Result<Option<(String, Option<String>)>, Errno> {
        let mut buffer = [0; BINPRM_BUF_SIZE];
        let len = text.len().min(BINPRM_BUF_SIZE);
        buffer[..len].copy_from_slice(&text[..len]);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("ASCII");
        Ok(parse(&buffer)?.map(|Interpreter { path, argument }| (text(path), argument.map(text))))
    }

    fn script(
        path: &str,
        argument: Option<&str>,
    ) -> Result<Option<(String, Option<String>)>, Errno> {
        Ok(Some((path.into(), argument.map(Into::into))))
    }

    #[test]
    fn lines_are_split_as_linux_splits_them() {
        assert_eq!(parsed(b"\x7fELF"), Ok(None));
        assert_eq!(parsed(b"#!/bin/sh\necho"), script("/bin/sh", None));
        assert_eq!(parsed(b"#! \t/bin/sh -e  -x \t\n"), script("/bin/sh", Some("-e  -x")));
        assert_eq!(parsed(b"#!/bin/sh"), script("/bin/sh", None));
        assert_eq!(parsed(b"#!\n"), Err(Errno::ENOEXEC));
        assert_eq!(parsed(b"#!   \t \n"), Err(Errno::ENOEXEC));
        assert_eq!(parsed(b"#!/bin/a\0b c\n"), script("/bin/a", None));
    }

    #[test]
    fn long_lines_need_a_whole_name() {
        let mut long = b"#!/".to_vec();
        long.resize(300, b'x');
        assert_eq!(parsed(&long), Err(Errno::ENOEXEC));
        let mut cut = b"#!/bin/sh ".to_vec();
        cut.resize(300, b'x');
        let argument = "x".repeat(245);
        assert_eq!(parsed(&cut), script("/bin/sh", Some(&argument)));
        assert_eq!(parsed(&[[b'#', b'!'].as_slice(), &[b' '; 300]].concat()), Err(Errno::ENOEXEC));
    }
}
