// SPDX-License-Identifier: Apache-2.0
//! Readiness, in poll(2)'s and epoll(7)'s bits.

use bitflags::bitflags;

bitflags! {
    /// What a file is ready for. The values are those of `POLLIN` … and `EPOLLIN` ….
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Ready: u32 {
        /// There is data to read, or end of file.
        const IN = 0x001;
        /// There is urgent data.
        const PRI = 0x002;
        /// Writing would not block.
        const OUT = 0x004;
        /// An error is pending. Reported always.
        const ERR = 0x008;
        /// The peer is gone. Reported always.
        const HUP = 0x010;
        /// Not an open file. poll(2) only.
        const NVAL = 0x020;
        /// As `IN`, for ordinary data.
        const RDNORM = 0x040;
        /// As `PRI`, for band data.
        const RDBAND = 0x080;
        /// As `OUT`, for ordinary data.
        const WRNORM = 0x100;
        /// As `OUT`, for band data.
        const WRBAND = 0x200;
        /// The peer shut down its writing half.
        const RDHUP = 0x2000;
    }
}

impl Ready {
    /// Readable.
    pub const READABLE: Ready = Ready::IN.union(Ready::RDNORM);
    /// Writable.
    pub const WRITABLE: Ready = Ready::OUT.union(Ready::WRNORM);
    /// Reported whether asked for or not.
    pub const ALWAYS: Ready = Ready::ERR.union(Ready::HUP);
}
