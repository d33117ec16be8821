// SPDX-License-Identifier: Apache-2.0
//! `/dev/pts`: the multiplexer and one name a slave.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock, Weak},
};

use abi::{DevId, Errno, fcntl::OpenFlags};

use super::{JobControl, Master, Slave, Terminal};
use crate::{
    creds::Credentials,
    fs::pseudo::{Body, Description, Entries, Entry, Node, PseudoFilesystem, Special, Tree},
    sync::{Mutex, levels},
    vfs::{FileKind, FileOps, Filesystem, Inode, Trust},
};

/// What `statfs(2)` says (`DEVPTS_SUPER_MAGIC`).
const MAGIC: i64 = 0x1cd1;
/// Terminals of one file system (`/proc/sys/kernel/pty/max`).
const MOST: usize = 4096;

/// mount(2)'s options for devpts.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Permissions of slaves.
    pub mode: u32,
    /// Permissions of `ptmx`.
    pub ptmx_mode: u32,
    /// Owner of slaves, if not who opened the master.
    pub uid: Option<u32>,
    /// Group of slaves, if not the opener's.
    pub gid: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options { mode: 0o600, ptmx_mode: 0, uid: None, gid: None }
    }
}

impl Options {
    /// Reads `mode=0620,ptmxmode=0666,gid=5,newinstance`; unknown words are `EINVAL`.
    pub fn parse(text: &str) -> Result<Options, Errno> {
        let mut options = Options::default();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let octal = || u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL);
            let decimal = || value.parse::<u32>().map_err(|_| Errno::EINVAL);
            match name {
                "mode" => options.mode = octal()? & 0o777,
                "ptmxmode" => options.ptmx_mode = octal()? & 0o777,
                "uid" => options.uid = Some(decimal()?),
                "gid" => options.gid = Some(decimal()?),
                "max" => drop(decimal()?),
                "newinstance" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(uid) = self.uid {
            text.push_str(&format!(",uid={uid}"));
        }
        if let Some(gid) = self.gid {
            text.push_str(&format!(",gid={gid}"));
        }
        text + &format!(",mode={:03o},ptmxmode={:03o}", self.mode, self.ptmx_mode)
    }
}

/// One instance: its terminals.
pub struct Devpts {
    jobs: Arc<dyn JobControl>,
    options: Options,
    slaves: Mutex<BTreeMap<u32, Arc<Node>>, levels::Leaf>,
    terminals: Mutex<BTreeMap<u32, Weak<Terminal>>, levels::Leaf>,
    filesystem: Arc<PseudoFilesystem>,
}

/// Every living terminal by its identity: what `/dev/tty` looks up.
static TERMINALS: LazyLock<Mutex<BTreeMap<u64, Weak<Terminal>>, levels::Leaf>> =
    LazyLock::new(Mutex::default);

/// The terminal that a session remembers by `identity`.
pub fn find(identity: u64) -> Option<Arc<Terminal>> {
    TERMINALS.lock().get(&identity)?.upgrade()
}

impl Devpts {
    /// A new instance without terminals.
    pub fn new(jobs: Arc<dyn JobControl>, options: Options) -> Arc<Devpts> {
        Arc::new_cyclic(|me: &Weak<Devpts>| {
            let description = Description {
                name: "devpts",
                magic: MAGIC,
                options: options.text(),
                is_cacheable: false,
            };
            let root = Box::new(Root { devpts: me.clone(), ptmx: Mutex::new(None) });
            Devpts {
                jobs,
                options,
                slaves: Mutex::default(),
                terminals: Mutex::default(),
                filesystem: PseudoFilesystem::new(description, 0o755, root),
            }
        })
    }

    /// What to mount. It keeps the instance alive through its root.
    pub fn filesystem(self: &Arc<Self>) -> Arc<dyn Filesystem> {
        Arc::new(Mounted { devpts: Arc::clone(self) })
    }

    /// A new pair; `opener` owns the slave.
    pub fn open_master(self: &Arc<Self>, opener: &Credentials) -> Result<Master, Errno> {
        let terminal = {
            let mut terminals = self.terminals.lock();
            if terminals.len() >= MOST {
                return Err(Errno::ENOSPC);
            }
            let free = (0..).find(|index| !terminals.contains_key(index)).ok_or(Errno::ENOSPC)?;
            let terminal = Terminal::new(free, Arc::clone(&self.jobs));
            terminals.insert(free, Arc::downgrade(&terminal));
            terminal
        };
        let index = terminal.index;
        let body =
            Body::OwnDevice(terminal.device(), Box::new(OpenSlave(Arc::downgrade(&terminal))));
        let number = u64::from(index) + 3;
        let node = self.filesystem.node_numbered(number, self.options.mode, body, None);
        node.own(
            self.options.uid.unwrap_or(opener.fsuid),
            self.options.gid.unwrap_or(opener.fsgid),
        );
        self.slaves.lock().insert(index, node);
        TERMINALS.lock().insert(terminal.identity(), Arc::downgrade(&terminal));
        let devpts = Arc::downgrade(self);
        let identity = terminal.identity();
        let on_close = Box::new(move |index| {
            TERMINALS.lock().remove(&identity);
            if let Some(devpts) = devpts.upgrade() {
                let node = devpts.slaves.lock().remove(&index);
                drop(node);
                devpts.terminals.lock().remove(&index);
            }
        });
        Ok(Master { terminal, on_close })
    }

    /// The inode of slave `index`.
    pub fn slave(&self, index: u32) -> Option<Arc<dyn Inode>> {
        self.slaves.lock().get(&index).map(|node| Arc::clone(node) as _)
    }
}

impl fmt::Debug for Devpts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Devpts")
    }
}

/// The instance as a file system.
#[derive(Debug)]
struct Mounted {
    devpts: Arc<Devpts>,
}

impl Filesystem for Mounted {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.devpts.filesystem.root()
    }

    fn device(&self) -> u64 {
        self.devpts.filesystem.device()
    }

    fn statistics(&self) -> Result<abi::mount::StatFs, Errno> {
        self.devpts.filesystem.statistics()
    }

    fn options(&self) -> String {
        self.devpts.filesystem.options()
    }

    fn trust(&self) -> Trust {
        Trust::Never
    }
}

struct Root {
    devpts: Weak<Devpts>,
    ptmx: Mutex<Option<Arc<Node>>, levels::Leaf>,
}

impl Root {
    fn ptmx(&self, filesystem: &Arc<PseudoFilesystem>) -> Arc<Node> {
        let mut ptmx = self.ptmx.lock();
        let make = || {
            let body =
                Body::OwnDevice(DevId::new(5, 2).0, Box::new(OpenMaster(self.devpts.clone())));
            let mode = self.devpts.upgrade().map_or(0, |devpts| devpts.options.ptmx_mode);
            filesystem.node_numbered(2, mode, body, None)
        };
        Arc::clone(ptmx.get_or_insert_with(make))
    }
}

impl Tree for Root {
    fn lookup(
        &self,
        filesystem: &Arc<PseudoFilesystem>,
        name: &[u8],
    ) -> Result<Arc<dyn Inode>, Errno> {
        if name == b"ptmx" {
            return Ok(self.ptmx(filesystem));
        }
        let devpts = self.devpts.upgrade().ok_or(Errno::ENOENT)?;
        let index = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        index.and_then(|index| devpts.slave(index)).ok_or(Errno::ENOENT)
    }

    fn entries(&self, _filesystem: &Arc<PseudoFilesystem>) -> Result<Entries, Errno> {
        let devpts = self.devpts.upgrade().ok_or(Errno::ENOENT)?;
        let slaves = devpts.slaves.lock();
        let entry = |name: String, number| Entry {
            name: name.into_bytes(),
            number,
            kind: FileKind::CharDevice,
        };
        let mut entries = vec![entry("ptmx".to_owned(), 2)];
        entries.extend(slaves.keys().map(|index| entry(index.to_string(), u64::from(*index) + 3)));
        Ok(entries)
    }
}

struct OpenMaster(Weak<Devpts>);

impl Special for OpenMaster {
    fn open(&self, _flags: OpenFlags, opener: &Credentials) -> Result<Box<dyn FileOps>, Errno> {
        let devpts = self.0.upgrade().ok_or(Errno::ENXIO)?;
        Ok(Box::new(devpts.open_master(opener)?))
    }
}

struct OpenSlave(Weak<Terminal>);

impl Special for OpenSlave {
    fn open(&self, _flags: OpenFlags, opener: &Credentials) -> Result<Box<dyn FileOps>, Errno> {
        let terminal = self.0.upgrade().ok_or(Errno::EIO)?;
        let may_override = opener.has(abi::cred::Capabilities::SYS_ADMIN);
        Ok(Box::new(Slave::open(&terminal, may_override)?))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use abi::signal::Signal;

    use super::{Devpts, Options};
    use crate::{
        creds::Credentials,
        fs::devpts::{JobControl, Slave},
        io::{SliceSink, SliceSource},
        vfs::FileOps,
        wait::{Ready, Try},
    };

    #[derive(Debug)]
    struct NoJobs;

    impl JobControl for NoJobs {
        fn signal_group(&self, _group: i32, _signal: Signal) {}
        fn take_away(&self, _session: i32, _terminal: u64) {}
        fn hang_up(&self, _session: i32, _terminal: u64, _foreground: i32) {}
        fn call_at(&self, _at: Instant, _action: Box<dyn FnOnce() + Send>) {}
    }

    #[test]
    fn a_pair_carries_bytes_and_hangs_up() {
        let devpts = Devpts::new(Arc::new(NoJobs), Options::default());
        let master = devpts.open_master(&Credentials::user(7, 8)).expect("there is room");
        let terminal = Arc::clone(&master.terminal);
        assert!(Slave::open(&terminal, true).is_err(), "it is locked at first");
        terminal.lock().is_locked = false;
        let slave = Slave::open(&terminal, false).expect("it is unlocked");
        let attributes = devpts.slave(0).expect("it has a name").attributes().expect("it has some");
        assert_eq!((attributes.uid, attributes.gid, attributes.permissions), (7, 8, 0o600));

        assert_eq!(master.write_at(&mut SliceSource::new(b"hi\n"), 0), Ok(Try::Done(3)));
        let mut room = [0; 8];
        assert_eq!(slave.read_at(&mut SliceSink::new(&mut room), 0), Ok(Try::Done(3)));
        assert_eq!(&room[..3], b"hi\n");
        let got = master.read_at(&mut SliceSink::new(&mut room), 0);
        assert_eq!((got, &room[..4]), (Ok(Try::Done(4)), &b"hi\r\n"[..]));

        drop(master);
        assert!(slave.ready().contains(Ready::HUP));
        assert_eq!(slave.read_at(&mut SliceSink::new(&mut room), 0), Ok(Try::Done(0)));
        assert_eq!(slave.write_at(&mut SliceSource::new(b"x"), 0), Err(abi::Errno::EIO));
        assert!(devpts.slave(0).is_none());
    }

    #[test]
    fn options_are_read_and_shown() {
        let options = Options::parse("newinstance,gid=5,mode=0620,ptmxmode=0666").expect("known");
        assert_eq!(options.text(), ",gid=5,mode=620,ptmxmode=666");
        assert!(Options::parse("colour=red").is_err());
    }
}
