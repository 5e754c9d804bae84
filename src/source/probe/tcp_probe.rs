//! The TCP probe: it passes if a connection opens.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::probe_result::ProbeResult;

/// Opens a connection and closes it. The caller sets the time limit.
pub(super) async fn probe(address: SocketAddr) -> ProbeResult {
    match TcpStream::connect(address).await {
        Ok(_) => ProbeResult::Passed("connection opened".into()),
        Err(error) => ProbeResult::from_io_error(&error, address),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fake::FakeServer, *};

    #[tokio::test]
    async fn an_open_port_passes() {
        let server = FakeServer::silent().await;
        assert_eq!(probe(server.address).await, ProbeResult::Passed("connection opened".into()));
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let server = FakeServer::silent().await;
        let result = probe(server.refused()).await;
        assert_eq!(result, ProbeResult::Failed("connection refused".into()));
    }
}
