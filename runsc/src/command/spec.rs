// SPDX-License-Identifier: Apache-2.0
//! `runsc spec`: a config.json to start from.

use super::{Failure, Request};
use crate::oci::template;

/// Writes the file; refuses to replace one.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let bundle = request.flags.path("bundle").unwrap_or_else(|| ".".into());
    let text = template::text(request.flags.is_on("rootless"), &request.flags.text("cwd"));
    template::write(&bundle, &text)?;
    Ok(0)
}
