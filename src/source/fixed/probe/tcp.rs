//! The TCP probe: a connection opens.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::Finding;

/// Opens a connection and closes it again; the caller sets the time limit.
pub(super) async fn probe(address: SocketAddr) -> Finding {
    match TcpStream::connect(address).await {
        Ok(_) => Finding::Passed("connection opened".into()),
        Err(error) => Finding::of(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::Server, *};

    #[tokio::test]
    async fn an_open_port_passes() {
        let server = Server::silent().await;
        assert_eq!(probe(server.address).await, Finding::Passed("connection opened".into()));
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let server = Server::silent().await;
        let finding = probe(server.refused()).await;
        assert_eq!(finding, Finding::Failed("connection refused".into()));
    }
}
