// SPDX-License-Identifier: Apache-2.0
//! Whom the host's out-of-memory killer takes: a guest's process before the kernel of all of them.
//!
//! Raising one's own score takes no right, and neither does going back to where one was. A process that is
//! forked in between keeps the raised one: the zygote, and so every stub.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
};

use tracing::debug;

/// More memory than a sentry has of its own. The kernel's score is in thousandths of what may be used.
const SENTRY: u64 = 64 << 20;
const MOST: i32 = 1000;

/// By how much a stub's score is above the sentry's, where this much memory may be used.
fn more(memory: u64) -> i32 {
    let thousandths = SENTRY.saturating_mul(1000) / memory.max(1);
    i32::try_from(thousandths).unwrap_or(MOST).clamp(10, MOST)
}

/// This process's own score.
#[derive(Debug)]
pub(super) struct Score {
    file: File,
    own: i32,
}

impl Score {
    /// Finds it. To be called while `/proc` can be seen; without one nothing is changed.
    pub(super) fn find() -> Option<Score> {
        let open = || -> io::Result<Score> {
            let path = "/proc/self/oom_score_adj";
            let mut file = OpenOptions::new().read(true).write(true).open(path)?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let own =
                text.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            Ok(Score { file, own })
        };
        open().inspect_err(|error| debug!("the out-of-memory score stays: {error}")).ok()
    }

    /// Raises it, for `run`, and what it forks, in a sandbox that may use this much memory.
    pub(super) fn raised<T>(score: Option<Score>, memory: u64, run: impl FnOnce() -> T) -> T {
        let Some(mut score) = score else { return run() };
        score.set((score.own + more(memory)).min(MOST));
        let result = run();
        score.set(score.own);
        result
    }

    fn set(&mut self, value: i32) {
        let text = value.to_string();
        let set = self.file.rewind().and_then(|()| self.file.write_all(text.as_bytes()));
        if let Err(error) = set {
            debug!("the out-of-memory score is not {value}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::more;

    #[test]
    fn the_less_memory_there_is_the_more_a_sentry_counts() {
        assert_eq!(more(16 << 20), 1000);
        assert_eq!(more(640 << 20), 100);
        assert_eq!(more(1 << 40), 10);
        assert_eq!(more(0), 1000);
    }
}
