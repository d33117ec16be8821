// SPDX-License-Identifier: Apache-2.0
//! Open files as memory sees them.

use std::any::Any;

use super::{FileDescription, Place};
use crate::mm::MappedFile;

impl MappedFile for FileDescription {
    /// The path from the root of the file's own mount namespace. A task in another root sees the same
    /// text: it names the file, and is never resolved.
    fn path(&self) -> Vec<u8> {
        let mut top = self.place().mount.clone();
        while let Some(point) = top.hangs_at() {
            top = point.mount;
        }
        self.place().display_from(&Place::root_of(top))
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
