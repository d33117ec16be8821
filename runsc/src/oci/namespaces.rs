// SPDX-License-Identifier: Apache-2.0
//! `linux.namespaces`: the guest's are the sentry's own, whatever the host's are.

use std::path::Path;

use oci_spec::runtime::{LinuxNamespaceType as Type, Spec};
use tracing::debug;

use super::bundle::BundleError;
use crate::sandbox::uts::Names;

/// Checks the list as runc does; what cannot be joined is named.
pub(crate) fn check(spec: &Spec) -> Result<(), BundleError> {
    let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let list: &[_] = list.map_or(&[], Vec::as_slice);
    for (index, namespace) in list.iter().enumerate() {
        let at = format!("linux.namespaces[{index}]");
        let typ = namespace.typ();
        if list.iter().take(index).any(|other| other.typ() == typ) {
            return Err(BundleError::field(
                at,
                format!("malformed spec file: duplicated ns {typ}"),
            ));
        }
        let Some(path) = namespace.path() else { continue };
        if path.as_os_str().is_empty() {
            continue;
        }
        check_path(&at, path)?;
        if !matches!(typ, Type::Network | Type::Uts) {
            debug!("config.json: {at}: the sandbox has a {typ} namespace of its own");
        }
    }
    Ok(())
}

fn check_path(at: &str, path: &Path) -> Result<(), BundleError> {
    let why = match path.metadata() {
        _ if !path.is_absolute() => "is not absolute".into(),
        Ok(_) => return Ok(()),
        Err(error) => error.to_string(),
    };
    Err(BundleError::field(format!("{at}.path"), format!("{}: {why}", path.display())))
}

/// The names that the guest's uts namespace begins with where config.json says none: those of the namespace
/// that it is to share, else the host's.
pub(crate) fn names(spec: &Spec) -> Result<Names, BundleError> {
    let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let mut all = list.into_iter().flatten().enumerate();
    let Some((index, uts)) = all.find(|(_, it)| it.typ() == Type::Uts) else {
        if spec.hostname().as_ref().is_some_and(|name| !name.is_empty()) {
            let why = "unable to set hostname without a private UTS namespace";
            return Err(BundleError::field("hostname", why));
        }
        return here();
    };
    match uts.path() {
        Some(path) if !path.as_os_str().is_empty() => Names::at(path).map_err(|error| {
            let why = format!("join the uts namespace {}: {error}", path.display());
            BundleError::field(format!("linux.namespaces[{index}]"), why)
        }),
        // A new one begins as a copy.
        _ => here(),
    }
}

fn here() -> Result<Names, BundleError> {
    Names::here().map_err(|error| BundleError::field("hostname", error.to_string()))
}

/// Whether a user namespace of its own is asked for.
pub(crate) fn has_user_namespace(spec: &Spec) -> bool {
    let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    list.into_iter().flatten().any(|namespace| namespace.typ() == Type::User)
}
