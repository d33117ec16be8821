// SPDX-License-Identifier: Apache-2.0
//! Host and domain name.

use std::{fmt, sync::Arc};

use abi::{Errno, utsname::NewUtsname, utsname::UTS_FIELD};

use crate::sync::{Mutex, levels};

#[derive(Clone)]
struct Names {
    host: Vec<u8>,
    domain: Vec<u8>,
}

/// uts_namespaces(7).
pub struct UtsNamespace {
    names: Mutex<Names, levels::Leaf>,
}

impl UtsNamespace {
    /// A namespace with these names, cut to what fits.
    pub fn new(host: &[u8], domain: &[u8]) -> Arc<UtsNamespace> {
        let cut = |name: &[u8]| name.iter().copied().take(UTS_FIELD - 1).collect();
        Arc::new(UtsNamespace { names: Mutex::new(Names { host: cut(host), domain: cut(domain) }) })
    }

    /// A copy that changes by itself (`CLONE_NEWUTS`).
    pub fn fork(&self) -> Arc<UtsNamespace> {
        let names = self.names.lock().clone();
        Arc::new(UtsNamespace { names: Mutex::new(names) })
    }

    /// The host name.
    pub fn host(&self) -> Vec<u8> {
        self.names.lock().host.clone()
    }

    /// The domain name.
    pub fn domain(&self) -> Vec<u8> {
        self.names.lock().domain.clone()
    }

    /// sethostname(2); `EINVAL` if it is too long.
    pub fn set_host(&self, name: Vec<u8>) -> Result<(), Errno> {
        if name.len() >= UTS_FIELD {
            return Err(Errno::EINVAL);
        }
        self.names.lock().host = name;
        Ok(())
    }

    /// setdomainname(2); `EINVAL` if it is too long.
    pub fn set_domain(&self, name: Vec<u8>) -> Result<(), Errno> {
        if name.len() >= UTS_FIELD {
            return Err(Errno::EINVAL);
        }
        self.names.lock().domain = name;
        Ok(())
    }

    /// uname(2).
    pub fn names(&self) -> NewUtsname {
        let names = self.names.lock();
        NewUtsname {
            sysname: field(b"Linux"),
            nodename: field(&names.host),
            release: field(super::super::RELEASE.as_bytes()),
            version: field(super::super::VERSION.as_bytes()),
            machine: field(b"x86_64"),
            domainname: field(&names.domain),
        }
    }
}

fn field(text: &[u8]) -> [u8; UTS_FIELD] {
    let mut field = [0; UTS_FIELD];
    for (to, from) in field.iter_mut().take(UTS_FIELD - 1).zip(text) {
        *to = *from;
    }
    field
}

impl fmt::Debug for UtsNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UtsNamespace")
    }
}
