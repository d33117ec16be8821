// SPDX-License-Identifier: Apache-2.0
//! What namespaces(7) separate, as far as the kernel itself holds it.

mod uts;

pub use uts::UtsNamespace;
