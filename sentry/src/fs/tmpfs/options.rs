// SPDX-License-Identifier: Apache-2.0
//! tmpfs(5)'s mount options.

use abi::{Errno, PAGE_SIZE};

/// Limits and the root directory's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Pages that files may fill; `None`: no limit.
    pub max_pages: Option<u64>,
    /// Inodes there may be; `None`: no limit.
    pub max_inodes: Option<u64>,
    /// Permissions of the root directory.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Read-only as a whole.
    pub is_read_only: bool,
}

impl Default for Options {
    /// Linux's: half of memory, mode 1777.
    fn default() -> Options {
        let half = ram() / 2 / PAGE_SIZE;
        Options {
            max_pages: Some(half),
            max_inodes: Some(half),
            mode: 0o1777,
            uid: 0,
            gid: 0,
            is_read_only: false,
        }
    }
}

fn ram() -> u64 {
    nix::sys::sysinfo::sysinfo().map_or(1 << 30, |info| info.ram_total())
}

impl Options {
    /// mount(2)'s text: `size=64m,nr_inodes=1k,mode=755`. `EINVAL` for what tmpfs does not know.
    pub fn parse(text: &[u8], uid: u32, gid: u32) -> Result<Options, Errno> {
        let mut options = Options { uid, gid, ..Options::default() };
        options.apply(text)?;
        Ok(options)
    }

    /// Changes those that `text` names.
    pub fn apply(&mut self, text: &[u8]) -> Result<(), Errno> {
        let text = std::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match key {
                "size" => self.max_pages = limit(size(value)?.div_ceil(PAGE_SIZE)),
                "nr_blocks" => self.max_pages = limit(size(value)?),
                "nr_inodes" => self.max_inodes = limit(size(value)?),
                "mode" => self.mode = number(value, 8)? & 0o7777,
                "uid" => self.uid = number(value, 10)?,
                "gid" => self.gid = number(value, 10)?,
                "ro" => self.is_read_only = true,
                "rw" => self.is_read_only = false,
                // No influence on what the guest can see.
                "huge" | "mpol" | "inode32" | "inode64" | "noswap" | "defaults" | "source" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(())
    }

    /// What `/proc/mounts` shows.
    pub fn show(&self) -> String {
        let mut text = String::new();
        if let Some(pages) = self.max_pages
            && self.max_pages != Options::default().max_pages
        {
            text.push_str(&format!(",size={}k", pages * (PAGE_SIZE / 1024)));
        }
        if let Some(inodes) = self.max_inodes
            && self.max_inodes != Options::default().max_inodes
        {
            text.push_str(&format!(",nr_inodes={inodes}"));
        }
        if self.mode != 0o1777 {
            text.push_str(&format!(",mode={:03o}", self.mode));
        }
        if self.uid != 0 {
            text.push_str(&format!(",uid={}", self.uid));
        }
        if self.gid != 0 {
            text.push_str(&format!(",gid={}", self.gid));
        }
        text.push_str(",inode64");
        text
    }
}

/// 0 is "no limit".
fn limit(value: u64) -> Option<u64> {
    (value != 0).then_some(value)
}

fn number(text: &str, radix: u32) -> Result<u32, Errno> {
    u32::from_str_radix(text, radix).map_err(|_| Errno::EINVAL)
}

/// memparse(): a number with k, m, g, t; or a share of memory with %.
fn size(text: &str) -> Result<u64, Errno> {
    if let Some(share) = text.strip_suffix('%') {
        let share: u64 = share.parse().map_err(|_| Errno::EINVAL)?;
        return Ok((ram() / 100).saturating_mul(share));
    }
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (text.get(..text.len() - 1), 10),
        Some(b'm' | b'M') => (text.get(..text.len() - 1), 20),
        Some(b'g' | b'G') => (text.get(..text.len() - 1), 30),
        Some(b't' | b'T') => (text.get(..text.len() - 1), 40),
        _ => (Some(text), 0),
    };
    let number: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or(Errno::EINVAL)?;
    number.checked_mul(1 << shift).ok_or(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::Options;
    use abi::Errno;

    #[test]
    fn options_are_read_as_linux_reads_them() {
        let options = Options::parse(b"size=64m,nr_inodes=1k,mode=0755,uid=7,noswap", 1, 2);
        let options = options.expect("all known");
        assert_eq!(options.max_pages, Some(64 * 256));
        assert_eq!(options.max_inodes, Some(1024));
        assert_eq!((options.mode, options.uid, options.gid), (0o755, 7, 2));
        assert_eq!(Options::parse(b"size=0", 0, 0).map(|o| o.max_pages), Ok(None));
        assert_eq!(Options::parse(b"sise=1", 0, 0), Err(Errno::EINVAL));
        assert_eq!(Options::parse(b"size=1x", 0, 0), Err(Errno::EINVAL));
    }
}
