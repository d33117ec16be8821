// SPDX-License-Identifier: Apache-2.0
//! One arm for each request.

use abi::Errno;

use super::{Server, change, connection::Work, create, names, read, walk, xattr};
use crate::protocol::{Request, Wire, Writer, message::Nothing};

/// Does what `request` asks and appends the reply's body to `reply`.
pub(super) fn handle(
    server: &Server,
    work: &mut Work,
    request: Request,
    reply: &mut Writer<'_>,
) -> Result<(), Errno> {
    /// Appends what the handler answers.
    macro_rules! answer {
        ($result:expr) => {
            $result?.encode(reply)
        };
    }
    match request {
        // The connection's own affair.
        Request::OpenChannel(_) => return Err(Errno::EINVAL),
        Request::Attach(request) => answer!(walk::attach(server, work, &request)),
        Request::Walk(request) => answer!(walk::walk(server, work, &request)),
        Request::WalkSiblings(request) => answer!(walk::siblings(server, work, &request)),
        Request::Revalidate(request) => answer!(walk::revalidate(server, &request)),
        Request::GetAttr(request) => answer!(read::attr(server, &request)),
        Request::Open(request) => answer!(read::open(server, work, &request)),
        Request::ReadLink(request) => answer!(read::link(server, &request)),
        Request::OpenDirectory(request) => answer!(read::open_directory(server, work, &request)),
        Request::ReadDirectory(request) => answer!(read::directory(server, &request)),
        Request::GetStatFs(request) => answer!(read::filesystem(server, &request)),
        Request::Connect(request) => answer!(read::connect(server, work, &request)),
        Request::ChangeAttr(request) => answer!(change::attr(server, &request)),
        Request::Sync(request) => answer!(change::sync(server, &request)),
        Request::Create(request) => answer!(create::file(server, work, &request)),
        Request::CreateUnnamed(request) => answer!(create::unnamed(server, work, &request)),
        Request::MakeDirectory(request) => answer!(create::directory(server, work, &request)),
        Request::MakeNode(request) => answer!(create::node(server, work, &request)),
        Request::MakeSymlink(request) => answer!(create::symlink(server, work, &request)),
        Request::Bind(request) => answer!(create::bind(server, work, &request)),
        Request::Link(request) => answer!(names::link(server, &request)),
        Request::Unlink(request) => answer!(names::unlink(server, &request)),
        Request::Rename(request) => answer!(names::rename(server, &request)),
        Request::GetXattr(request) => answer!(xattr::get(server, &request)),
        Request::SetXattr(request) => answer!(xattr::set(server, &request)),
        Request::ListXattr(request) => answer!(xattr::list(server, &request)),
        Request::RemoveXattr(request) => answer!(xattr::remove(server, &request)),
        // Its header has done it.
        Request::Release(_) => Nothing {}.encode(reply),
    }
    Ok(())
}
