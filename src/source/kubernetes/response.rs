//! Response bodies: reading them with a limit, and what to say when they break off.

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;

use crate::source::WatchError;

/// Makes a failure of a body that breaks off; only the root of the causes says something, the others repeat it.
pub(super) fn broken(error: axum::Error) -> WatchError {
    WatchError::Connect(match anyhow::Error::from(error).chain().last() {
        Some(root) => anyhow::anyhow!("the connection broke: {root}"),
        None => anyhow::anyhow!("the connection broke"),
    })
}

/// Cuts a text from the network to what fits into a log line.
pub(super) fn brief(text: &str) -> String {
    const LONGEST: usize = 300;
    text.chars().take(LONGEST).collect()
}

/// Reads a body of at most `longest` bytes.
///
/// # Errors
/// When it is longer, or breaks off.
pub(super) async fn collect(body: &mut BodyDataStream, longest: usize) -> Result<Vec<u8>, WatchError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(broken)?;
        if bytes.len() + chunk.len() > longest {
            return Err(WatchError::Malformed(format!("more than {} MiB in one answer", longest >> 20)));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
