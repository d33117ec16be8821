// SPDX-License-Identifier: Apache-2.0
//! `asm-generic/ioctls.h`, `asm-generic/termbits.h`, `linux/sockios.h`, `linux/fs.h`: ioctl(2).

use crate::macros::{consts, flags, layout, values};

values! {
    /// Requests.
    pub struct IoctlRequest: u32 {
        TCGETS = 0x5401;
        TCSETS = 0x5402;
        TCSETSW = 0x5403;
        TCSETSF = 0x5404;
        TCGETA = 0x5405;
        TCSETA = 0x5406;
        TCSETAW = 0x5407;
        TCSETAF = 0x5408;
        TCSBRK = 0x5409;
        TCXONC = 0x540a;
        TCFLSH = 0x540b;
        TIOCEXCL = 0x540c;
        TIOCNXCL = 0x540d;
        TIOCSCTTY = 0x540e;
        TIOCGPGRP = 0x540f;
        TIOCSPGRP = 0x5410;
        TIOCOUTQ = 0x5411;
        TIOCSTI = 0x5412;
        TIOCGWINSZ = 0x5413;
        TIOCSWINSZ = 0x5414;
        TIOCMGET = 0x5415;
        TIOCMBIS = 0x5416;
        TIOCMBIC = 0x5417;
        TIOCMSET = 0x5418;
        TIOCGSOFTCAR = 0x5419;
        TIOCSSOFTCAR = 0x541a;
        FIONREAD = 0x541b;
        TIOCLINUX = 0x541c;
        TIOCCONS = 0x541d;
        TIOCPKT = 0x5420;
        FIONBIO = 0x5421;
        TIOCNOTTY = 0x5422;
        TIOCSETD = 0x5423;
        TIOCGETD = 0x5424;
        TCSBRKP = 0x5425;
        TIOCSBRK = 0x5427;
        TIOCCBRK = 0x5428;
        TIOCGSID = 0x5429;
        TCGETS2 = 0x802c542a;
        TCSETS2 = 0x402c542b;
        TCSETSW2 = 0x402c542c;
        TCSETSF2 = 0x402c542d;
        TIOCGPTN = 0x80045430;
        TIOCSPTLCK = 0x40045431;
        TIOCGDEV = 0x80045432;
        TIOCSIG = 0x40045436;
        TIOCVHANGUP = 0x5437;
        TIOCGPKT = 0x80045438;
        TIOCGPTLCK = 0x80045439;
        TIOCGEXCL = 0x80045440;
        TIOCGPTPEER = 0x5441;
        FIONCLEX = 0x5450;
        FIOCLEX = 0x5451;
        FIOASYNC = 0x5452;
        FIOQSIZE = 0x5460;
        FIOSETOWN = 0x8901;
        SIOCSPGRP = 0x8902;
        FIOGETOWN = 0x8903;
        SIOCGPGRP = 0x8904;
        SIOCATMARK = 0x8905;
        SIOCGSTAMP_OLD = 0x8906;
        SIOCGSTAMPNS_OLD = 0x8907;
        SIOCGIFNAME = 0x8910;
        SIOCGIFCONF = 0x8912;
        SIOCGIFFLAGS = 0x8913;
        SIOCSIFFLAGS = 0x8914;
        SIOCGIFADDR = 0x8915;
        SIOCSIFADDR = 0x8916;
        SIOCGIFDSTADDR = 0x8917;
        SIOCGIFBRDADDR = 0x8919;
        SIOCGIFNETMASK = 0x891b;
        SIOCGIFMETRIC = 0x891d;
        SIOCGIFMTU = 0x8921;
        SIOCSIFMTU = 0x8922;
        SIOCGIFHWADDR = 0x8927;
        SIOCGIFINDEX = 0x8933;
        SIOCGIFTXQLEN = 0x8942;
        SIOCGIFMAP = 0x8970;
        SIOCETHTOOL = 0x8946;
        SIOCADDRT = 0x890b;
        SIOCDELRT = 0x890c;
        SIOCGARP = 0x8954;
        FS_IOC_GETFLAGS = 0x80086601;
        FS_IOC_SETFLAGS = 0x40086602;
        FS_IOC_GETVERSION = 0x80087601;
        FS_IOC_FSGETXATTR = 0x801c581f;
        FS_IOC_FSSETXATTR = 0x401c5820;
        FS_IOC_FIEMAP = 0xc020660b;
        FICLONE = 0x40049409;
        FICLONERANGE = 0x4020940d;
        FIDEDUPERANGE = 0xc0189436;
        FIFREEZE = 0xc0045877;
        FITHAW = 0xc0045878;
        FITRIM = 0xc0185879;
        FIBMAP = 1;
        FIGETBSZ = 2;
        BLKGETSIZE = 0x1260;
        BLKGETSIZE64 = 0x80081272;
        BLKSSZGET = 0x1268;
        BLKROGET = 0x125e;
        KDGKBTYPE = 0x4b33;
        KDGETMODE = 0x4b3b;
        KDSETMODE = 0x4b3a;
        KDGKBMODE = 0x4b44;
        VT_OPENQRY = 0x5600;
        VT_GETMODE = 0x5601;
        VT_GETSTATE = 0x5603;
        RNDGETENTCNT = 0x80045200;
        RNDADDTOENTCNT = 0x40045201;
        RNDADDENTROPY = 0x40085203;
        FS_IOC_GETFSUUID = 0x80111500;
        FS_IOC_MEASURE_VERITY = 0xc0046686;
        FS_IOC_ENABLE_VERITY = 0x40806685;
    }
}

flags! {
    /// `c_iflag`.
    pub struct InputModes: u32 = "" {
        IGNBRK = 0o1;
        BRKINT = 0o2;
        IGNPAR = 0o4;
        PARMRK = 0o10;
        INPCK = 0o20;
        ISTRIP = 0o40;
        INLCR = 0o100;
        IGNCR = 0o200;
        ICRNL = 0o400;
        IUCLC = 0o1000;
        IXON = 0o2000;
        IXANY = 0o4000;
        IXOFF = 0o10000;
        IMAXBEL = 0o20000;
        IUTF8 = 0o40000;
    }
}

flags! {
    /// `c_oflag`.
    pub struct OutputModes: u32 = "" {
        OPOST = 0o1;
        OLCUC = 0o2;
        ONLCR = 0o4;
        OCRNL = 0o10;
        ONOCR = 0o20;
        ONLRET = 0o40;
        OFILL = 0o100;
        OFDEL = 0o200;
        NLDLY = 0o400;
        CRDLY = 0o3000;
        TABDLY = 0o14000;
        BSDLY = 0o20000;
        VTDLY = 0o40000;
        FFDLY = 0o100000;
    }
}

flags! {
    /// `c_cflag`.
    pub struct ControlModes: u32 = "" {
        CBAUD = 0o10017;
        CSIZE = 0o60;
        CS5 = 0o0;
        CS6 = 0o20;
        CS7 = 0o40;
        CS8 = 0o60;
        CSTOPB = 0o100;
        CREAD = 0o200;
        PARENB = 0o400;
        PARODD = 0o1000;
        HUPCL = 0o2000;
        CLOCAL = 0o4000;
        CBAUDEX = 0o10000;
        CMSPAR = 0o10000000000;
        CRTSCTS = 0o20000000000;
    }
}

flags! {
    /// `c_lflag`.
    pub struct LocalModes: u32 = "" {
        ISIG = 0o1;
        ICANON = 0o2;
        XCASE = 0o4;
        ECHO = 0o10;
        ECHOE = 0o20;
        ECHOK = 0o40;
        ECHONL = 0o100;
        NOFLSH = 0o200;
        TOSTOP = 0o400;
        ECHOCTL = 0o1000;
        ECHOPRT = 0o2000;
        ECHOKE = 0o4000;
        FLUSHO = 0o10000;
        PENDIN = 0o40000;
        IEXTEN = 0o100000;
        EXTPROC = 0o200000;
    }
}

consts! {
    usize;
    VINTR = 0;
    VQUIT = 1;
    VERASE = 2;
    VKILL = 3;
    VEOF = 4;
    VTIME = 5;
    VMIN = 6;
    VSWTC = 7;
    VSTART = 8;
    VSTOP = 9;
    VSUSP = 10;
    VEOL = 11;
    VREPRINT = 12;
    VDISCARD = 13;
    VWERASE = 14;
    VLNEXT = 15;
    VEOL2 = 16;
    NCCS = 19;
}

consts! {
    u32;
    B0 = 0o0;
    B50 = 0o1;
    B9600 = 0o15;
    B19200 = 0o16;
    B38400 = 0o17;
    B115200 = 0o10002;
    BOTHER = 0o10000;
}

consts! {
    i32;
    TCIFLUSH = 0;
    TCOFLUSH = 1;
    TCIOFLUSH = 2;
    TCOOFF = 0;
    TCOON = 1;
    TCIOFF = 2;
    TCION = 3;
    N_TTY = 0;
}

consts! {
    u8;
    TIOCPKT_DATA = 0;
    TIOCPKT_FLUSHREAD = 1;
    TIOCPKT_FLUSHWRITE = 2;
    TIOCPKT_STOP = 4;
    TIOCPKT_START = 8;
    TIOCPKT_NOSTOP = 0x10;
    TIOCPKT_DOSTOP = 0x20;
    TIOCPKT_IOCTL = 0x40;
}

layout! {
    /// `FICLONERANGE`'s argument.
    pub struct FileCloneRange [32] {
        src_fd: i64,
        src_offset: u64,
        src_length: u64,
        dest_offset: u64,
    }
    /// `struct termios` as the kernel has it.
    pub struct Termios [36] {
        c_iflag: u32,
        c_oflag: u32,
        c_cflag: u32,
        c_lflag: u32,
        c_line: u8,
        c_cc: [u8; NCCS],
    }
    /// `struct termios2`.
    pub struct Termios2 [44] {
        c_iflag: u32,
        c_oflag: u32,
        c_cflag: u32,
        c_lflag: u32,
        c_line: u8,
        c_cc: [u8; NCCS],
        c_ispeed: u32,
        c_ospeed: u32,
    }
    /// `struct termio`.
    pub struct Termio [18] {
        c_iflag: u16,
        c_oflag: u16,
        c_cflag: u16,
        c_lflag: u16,
        c_line: u8,
        c_cc: [u8; 8],
        pad: u8,
    }
    /// A terminal's size.
    pub struct Winsize [8] {
        ws_row: u16,
        ws_col: u16,
        ws_xpixel: u16,
        ws_ypixel: u16,
    }
    /// `struct ifreq`: a name and 24 bytes that the request explains.
    pub struct Ifreq [40] {
        ifr_name: [u8; 16],
        data: [u8; 24],
    }
    /// `struct ifconf`.
    pub struct Ifconf [16] {
        ifc_len: i32,
        pad: u32,
        ifc_buf: u64,
    }
}
