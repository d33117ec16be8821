// SPDX-License-Identifier: Apache-2.0
//! A client of the Container Runtime Interface, which Kubernetes speaks to an engine.
//!
//! One gRPC call after another over the engine's unix socket, with the messages in [`messages`]. It has no
//! streams: `Exec` and `Attach` are for a kubelet, which serves them to others.

pub mod messages;

use std::{fmt, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use prost::Message;
use tokio::{net::UnixStream, runtime::Runtime, time};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A connection to an engine.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
}

/// What an engine says when it refuses.
#[derive(Debug)]
pub struct Refusal {
    /// gRPC's number for it.
    pub code: u32,
    /// What it says.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused with code {}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

impl Client {
    /// Connects to the engine that listens there.
    pub fn connect(socket: &Path) -> Result<Client> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let requests = runtime.block_on(async {
            let stream = UnixStream::connect(socket).await?;
            let (requests, connection) = h2::client::handshake(stream).await?;
            // What becomes of the connection is seen in the calls.
            tokio::spawn(connection);
            anyhow::Ok(requests)
        });
        let requests = requests.with_context(|| format!("connect to {}", socket.display()))?;
        Ok(Client { runtime, requests })
    }

    /// Calls a method of the runtime service. A [`Refusal`] is the engine's own answer.
    pub fn call<Q: Message, A: Message + Default>(&self, method: &str, request: &Q) -> Result<A> {
        let mut frame = BytesMut::with_capacity(PREFIX + request.encoded_len());
        frame.put_u8(0);
        frame.put_u32(request.encoded_len().try_into()?);
        request.encode(&mut frame)?;
        let exchange = exchange(self.requests.clone(), method, frame.freeze());
        let answer = self.runtime.block_on(async { time::timeout(LIMIT, exchange).await });
        let answer = answer.context("no answer in time").and_then(|answer| answer);
        let answer = answer.with_context(|| method.to_owned())?;
        A::decode(answer).with_context(|| format!("{method}: the answer"))
    }
}

/// Sends a frame and gives the message of the answering one.
async fn exchange(requests: SendRequest<Bytes>, method: &str, frame: Bytes) -> Result<Bytes> {
    let mut requests = requests.ready().await?;
    let request = Request::post(format!("http://localhost/runtime.v1.RuntimeService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (response, mut body) = requests.send_request(request, false)?;
    body.send_data(frame, true)?;
    let (head, mut body) = response.await?.into_parts();
    ensure!(head.status.is_success(), "the engine answers with status {}", head.status);
    let mut answer = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        answer.put(chunk);
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    // A refusal without a message has its trailers in the head.
    match refusal(&trailers).or_else(|| refusal(&head.headers)) {
        Some(Refusal { code: 0, .. }) => {}
        Some(refusal) => return Err(refusal.into()),
        None => bail!("the engine does not say how it ended"),
    }
    ensure!(answer.len() >= PREFIX && answer.first() == Some(&0), "not a plain message");
    Ok(answer.freeze().slice(PREFIX..))
}

fn refusal(headers: &HeaderMap) -> Option<Refusal> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let message = headers.get("grpc-message").map(|it| plain(it.as_bytes())).unwrap_or_default();
    Some(Refusal { code, message })
}

/// A text without its percent signs.
fn plain(text: &[u8]) -> String {
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let code = if *first == b'%' { behind.get(..2) } else { None };
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn percent_signs_are_read() {
        assert_eq!(super::plain(b"a%20b%25%E4%BD%A0%2"), "a b%\u{4f60}%2");
    }
}
