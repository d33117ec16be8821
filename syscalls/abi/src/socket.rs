// SPDX-License-Identifier: Apache-2.0
//! `linux/socket.h`, `linux/in.h`, `linux/un.h`, `linux/net.h`: sockets.

use crate::macros::{consts, flags, layout, values};

values! {
    /// Address families.
    pub struct AddressFamily: u16 {
        AF_UNSPEC = 0;
        AF_UNIX = 1;
        AF_INET = 2;
        AF_AX25 = 3;
        AF_IPX = 4;
        AF_APPLETALK = 5;
        AF_X25 = 9;
        AF_INET6 = 10;
        AF_NETLINK = 16;
        AF_PACKET = 17;
        AF_CAN = 29;
        AF_TIPC = 30;
        AF_BLUETOOTH = 31;
        AF_ALG = 38;
        AF_VSOCK = 40;
        AF_XDP = 44;
    }
}

values! {
    /// Socket types without their flags.
    pub struct SocketType: i32 {
        SOCK_STREAM = 1;
        SOCK_DGRAM = 2;
        SOCK_RAW = 3;
        SOCK_RDM = 4;
        SOCK_SEQPACKET = 5;
        SOCK_DCCP = 6;
        SOCK_PACKET = 10;
    }
}

flags! {
    /// What may be or-ed to a socket\'s type, and accept4(2)\'s flags.
    pub struct SocketFlags: u32 = "SOCK_" {
        NONBLOCK = 0o4000;
        CLOEXEC = 0o2000000;
    }
}

consts! {
    i32;
    SOCK_TYPE_MASK = 15;
    SOMAXCONN = 4096;
    SCM_MAX_FD = 253;
}

values! {
    /// Protocols of the internet families.
    pub struct IpProtocol: i32 {
        IPPROTO_IP = 0;
        IPPROTO_ICMP = 1;
        IPPROTO_TCP = 6;
        IPPROTO_UDP = 17;
        IPPROTO_IPV6 = 41;
        IPPROTO_ICMPV6 = 58;
        IPPROTO_RAW = 255;
        IPPROTO_MPTCP = 262;
    }
}

values! {
    /// getsockopt(2)\'s levels.
    pub struct OptionLevel: i32 {
        SOL_IP = 0;
        SOL_SOCKET = 1;
        SOL_TCP = 6;
        SOL_UDP = 17;
        SOL_IPV6 = 41;
        SOL_RAW = 255;
        SOL_PACKET = 263;
        SOL_NETLINK = 270;
    }
}

values! {
    /// Options of `SOL_SOCKET`.
    pub struct SocketOption: i32 {
        SO_DEBUG = 1;
        SO_REUSEADDR = 2;
        SO_TYPE = 3;
        SO_ERROR = 4;
        SO_DONTROUTE = 5;
        SO_BROADCAST = 6;
        SO_SNDBUF = 7;
        SO_RCVBUF = 8;
        SO_KEEPALIVE = 9;
        SO_OOBINLINE = 10;
        SO_NO_CHECK = 11;
        SO_PRIORITY = 12;
        SO_LINGER = 13;
        SO_BSDCOMPAT = 14;
        SO_REUSEPORT = 15;
        SO_PASSCRED = 16;
        SO_PEERCRED = 17;
        SO_RCVLOWAT = 18;
        SO_SNDLOWAT = 19;
        SO_RCVTIMEO = 20;
        SO_SNDTIMEO = 21;
        SO_BINDTODEVICE = 25;
        SO_ATTACH_FILTER = 26;
        SO_DETACH_FILTER = 27;
        SO_PEERNAME = 28;
        SO_TIMESTAMP = 29;
        SO_ACCEPTCONN = 30;
        SO_PEERSEC = 31;
        SO_SNDBUFFORCE = 32;
        SO_RCVBUFFORCE = 33;
        SO_PASSSEC = 34;
        SO_TIMESTAMPNS = 35;
        SO_MARK = 36;
        SO_TIMESTAMPING = 37;
        SO_PROTOCOL = 38;
        SO_DOMAIN = 39;
        SO_RXQ_OVFL = 40;
        SO_WIFI_STATUS = 41;
        SO_PEEK_OFF = 42;
        SO_NOFCS = 43;
        SO_LOCK_FILTER = 44;
        SO_SELECT_ERR_QUEUE = 45;
        SO_BUSY_POLL = 46;
        SO_MAX_PACING_RATE = 47;
        SO_BPF_EXTENSIONS = 48;
        SO_INCOMING_CPU = 49;
        SO_ATTACH_BPF = 50;
        SO_ATTACH_REUSEPORT_CBPF = 51;
        SO_ATTACH_REUSEPORT_EBPF = 52;
        SO_CNX_ADVICE = 53;
        SO_MEMINFO = 55;
        SO_INCOMING_NAPI_ID = 56;
        SO_COOKIE = 57;
        SO_PEERGROUPS = 59;
        SO_ZEROCOPY = 60;
        SO_TXTIME = 61;
        SO_BINDTOIFINDEX = 62;
        SO_TIMESTAMP_NEW = 63;
        SO_TIMESTAMPNS_NEW = 64;
        SO_TIMESTAMPING_NEW = 65;
        SO_RCVTIMEO_NEW = 66;
        SO_SNDTIMEO_NEW = 67;
        SO_DETACH_REUSEPORT_BPF = 68;
        SO_PREFER_BUSY_POLL = 69;
        SO_BUSY_POLL_BUDGET = 70;
        SO_NETNS_COOKIE = 71;
        SO_BUF_LOCK = 72;
        SO_RESERVE_MEM = 73;
        SO_TXREHASH = 74;
        SO_RCVMARK = 75;
        SO_PASSPIDFD = 76;
        SO_PEERPIDFD = 77;
    }
}

values! {
    /// Options of `SOL_TCP`.
    pub struct TcpOption: i32 {
        TCP_NODELAY = 1;
        TCP_MAXSEG = 2;
        TCP_CORK = 3;
        TCP_KEEPIDLE = 4;
        TCP_KEEPINTVL = 5;
        TCP_KEEPCNT = 6;
        TCP_SYNCNT = 7;
        TCP_LINGER2 = 8;
        TCP_DEFER_ACCEPT = 9;
        TCP_WINDOW_CLAMP = 10;
        TCP_INFO = 11;
        TCP_QUICKACK = 12;
        TCP_CONGESTION = 13;
        TCP_MD5SIG = 14;
        TCP_THIN_LINEAR_TIMEOUTS = 16;
        TCP_THIN_DUPACK = 17;
        TCP_USER_TIMEOUT = 18;
        TCP_REPAIR = 19;
        TCP_FASTOPEN = 23;
        TCP_TIMESTAMP = 24;
        TCP_NOTSENT_LOWAT = 25;
        TCP_CC_INFO = 26;
        TCP_SAVE_SYN = 27;
        TCP_SAVED_SYN = 28;
        TCP_FASTOPEN_CONNECT = 30;
        TCP_ULP = 31;
        TCP_INQ = 36;
    }
}

values! {
    /// Options of `SOL_IP`.
    pub struct IpOption: i32 {
        IP_TOS = 1;
        IP_TTL = 2;
        IP_HDRINCL = 3;
        IP_OPTIONS = 4;
        IP_RECVOPTS = 6;
        IP_RETOPTS = 7;
        IP_PKTINFO = 8;
        IP_MTU_DISCOVER = 10;
        IP_RECVERR = 11;
        IP_RECVTTL = 12;
        IP_RECVTOS = 13;
        IP_MTU = 14;
        IP_FREEBIND = 15;
        IP_TRANSPARENT = 19;
        IP_RECVORIGDSTADDR = 20;
        IP_MINTTL = 21;
        IP_NODEFRAG = 22;
        IP_BIND_ADDRESS_NO_PORT = 24;
        IP_MULTICAST_IF = 32;
        IP_MULTICAST_TTL = 33;
        IP_MULTICAST_LOOP = 34;
        IP_ADD_MEMBERSHIP = 35;
        IP_DROP_MEMBERSHIP = 36;
        IP_MULTICAST_ALL = 49;
        IP_LOCAL_PORT_RANGE = 51;
    }
}

values! {
    /// Options of `SOL_IPV6`.
    pub struct Ipv6Option: i32 {
        IPV6_ADDRFORM = 1;
        IPV6_UNICAST_HOPS = 16;
        IPV6_MULTICAST_IF = 17;
        IPV6_MULTICAST_HOPS = 18;
        IPV6_MULTICAST_LOOP = 19;
        IPV6_JOIN_GROUP = 20;
        IPV6_LEAVE_GROUP = 21;
        IPV6_MTU_DISCOVER = 23;
        IPV6_MTU = 24;
        IPV6_RECVERR = 25;
        IPV6_V6ONLY = 26;
        IPV6_RECVPKTINFO = 49;
        IPV6_PKTINFO = 50;
        IPV6_RECVHOPLIMIT = 51;
        IPV6_HOPLIMIT = 52;
        IPV6_RECVTCLASS = 66;
        IPV6_TCLASS = 67;
        IPV6_TRANSPARENT = 75;
        IPV6_FREEBIND = 78;
    }
}

flags! {
    /// sendmsg(2)\'s and recvmsg(2)\'s flags.
    pub struct MessageFlags: u32 = "MSG_" {
        OOB = 1;
        PEEK = 2;
        DONTROUTE = 4;
        CTRUNC = 8;
        PROBE = 0x10;
        TRUNC = 0x20;
        DONTWAIT = 0x40;
        EOR = 0x80;
        WAITALL = 0x100;
        FIN = 0x200;
        SYN = 0x400;
        CONFIRM = 0x800;
        RST = 0x1000;
        ERRQUEUE = 0x2000;
        NOSIGNAL = 0x4000;
        MORE = 0x8000;
        WAITFORONE = 0x10000;
        BATCH = 0x40000;
        ZEROCOPY = 0x4000000;
        FASTOPEN = 0x20000000;
        CMSG_CLOEXEC = 0x40000000;
    }
}

values! {
    /// Control messages of `SOL_SOCKET`.
    pub struct ScmType: i32 {
        SCM_RIGHTS = 1;
        SCM_CREDENTIALS = 2;
        SCM_SECURITY = 3;
        SCM_PIDFD = 4;
    }
}

values! {
    /// shutdown(2)\'s `how`.
    pub struct ShutdownHow: i32 {
        SHUT_RD = 0;
        SHUT_WR = 1;
        SHUT_RDWR = 2;
    }
}

layout! {
    /// `struct sockaddr_un`.
    pub struct SockaddrUn [110] {
        sun_family: u16,
        sun_path: [u8; 108],
    }
    /// `struct sockaddr_in`; port and address are in network order.
    pub struct SockaddrIn [16] {
        sin_family: u16,
        sin_port: [u8; 2],
        sin_addr: [u8; 4],
        sin_zero: [u8; 8],
    }
    /// `struct sockaddr_in6`.
    pub struct SockaddrIn6 [28] {
        sin6_family: u16,
        sin6_port: [u8; 2],
        sin6_flowinfo: u32,
        sin6_addr: [u8; 16],
        sin6_scope_id: u32,
    }
    /// `struct sockaddr_nl`.
    pub struct SockaddrNl [12] {
        nl_family: u16,
        pad: u16,
        nl_pid: u32,
        nl_groups: u32,
    }
    /// `struct sockaddr_ll`.
    pub struct SockaddrLl [20] {
        sll_family: u16,
        sll_protocol: [u8; 2],
        sll_ifindex: i32,
        sll_hatype: u16,
        sll_pkttype: u8,
        sll_halen: u8,
        sll_addr: [u8; 8],
    }
    /// Room for any address.
    pub struct SockaddrStorage [128] {
        ss_family: u16,
        data: [u8; 126],
    }
    /// `struct user_msghdr`.
    pub struct Msghdr [56] {
        msg_name: u64,
        msg_namelen: i32,
        pad0: u32,
        msg_iov: u64,
        msg_iovlen: u64,
        msg_control: u64,
        msg_controllen: u64,
        msg_flags: u32,
        pad1: u32,
    }
    /// `struct mmsghdr`.
    pub struct Mmsghdr [64] {
        msg_hdr: Msghdr,
        msg_len: u32,
        pad: u32,
    }
    /// The head of a control message.
    pub struct Cmsghdr [16] {
        cmsg_len: u64,
        cmsg_level: i32,
        cmsg_type: i32,
    }
    /// `struct ucred`.
    pub struct Ucred [12] {
        pid: i32,
        uid: u32,
        gid: u32,
    }
    /// `SO_LINGER`'s value.
    pub struct Linger [8] {
        l_onoff: i32,
        l_linger: i32,
    }
}

/// The length of the control messages' alignment.
pub const CMSG_ALIGNMENT: usize = 8;

/// `CMSG_ALIGN`; `None` when it wraps.
pub const fn cmsg_align(len: usize) -> Option<usize> {
    match len.checked_add(CMSG_ALIGNMENT - 1) {
        Some(sum) => Some(sum & !(CMSG_ALIGNMENT - 1)),
        None => None,
    }
}
