//! The result of one probe.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use nix::errno::Errno;

/// The result of one probe, with the reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source) enum ProbeResult {
    /// The instance responded as expected.
    Passed(String),
    /// The instance did not respond, or not as expected.
    Failed(String),
    /// The probe could not start, since this machine lacks sockets or memory. This tells nothing
    /// about the instance.
    Untried(String),
    /// The probe could not start, since this machine has no route to the address, such as one
    /// without IPv6. This tells nothing about the instance, and may never change.
    NoRoute(String),
}

impl ProbeResult {
    /// Makes a result of an error of the operating system while `address` was probed. What this
    /// machine lacks is not the instance's failure.
    pub(in crate::source) fn from_io_error(error: &io::Error, address: SocketAddr) -> Self {
        let errno = error.raw_os_error().map(Errno::from_raw);
        match errno {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                return Self::Untried(format!("{error}; raise the open files limit, or probe less often"));
            }
            // No route, no address to send from, no such protocol; a route of type blackhole or prohibit.
            Some(
                Errno::ENETUNREACH
                | Errno::EADDRNOTAVAIL
                | Errno::EAFNOSUPPORT
                | Errno::EINVAL
                | Errno::EACCES,
            ) if !has_route(address) => {
                return Self::NoRoute("this machine has no route to it".into());
            }
            Some(Errno::EADDRNOTAVAIL) => {
                return Self::Untried(format!("{error}; all local ports are in use"));
            }
            _ => {}
        }
        Self::Failed(match error.kind() {
            kind @ (io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable) => kind.to_string(),
            _ => error.to_string(),
        })
    }

    /// The reason why nothing was tried, if so.
    pub(in crate::source) fn untried(&self) -> Option<&str> {
        match self {
            Self::Passed(_) | Self::Failed(_) => None,
            Self::Untried(reason) | Self::NoRoute(reason) => Some(reason),
        }
    }

    /// Puts the address in front of the reason, for instances that have several.
    pub(in crate::source) fn with_address(self, address: IpAddr) -> Self {
        match self {
            Self::Passed(reason) => Self::Passed(format!("{address}: {reason}")),
            Self::Failed(reason) => Self::Failed(format!("{address}: {reason}")),
            Self::Untried(reason) => Self::Untried(format!("{address}: {reason}")),
            Self::NoRoute(reason) => Self::NoRoute(format!("{address}: {reason}")),
        }
    }
}

/// Whether this machine's routing table has a route to the address. Sends nothing: connecting a
/// datagram socket only looks the route up.
///
/// A router on the way may report an unreachable network as well. That is a failure of the path to
/// the instance, and counts.
fn has_route(address: SocketAddr) -> bool {
    let local: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((local, 0)).and_then(|socket| socket.connect(address)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(errno: Errno, address: &str) -> ProbeResult {
        ProbeResult::from_io_error(&io::Error::from_raw_os_error(errno as i32), address.parse().unwrap())
    }

    #[test]
    fn lack_of_sockets_is_not_the_instances_fault() {
        let here = "127.0.0.1:80";
        for errno in [Errno::EMFILE, Errno::EADDRNOTAVAIL] {
            assert!(matches!(result(errno, here), ProbeResult::Untried(_)), "{errno}");
        }
        assert_eq!(result(Errno::EHOSTUNREACH, here), ProbeResult::Failed("host unreachable".into()));
    }

    #[test]
    fn an_unreachable_network_is_the_instances_fault_if_there_is_a_route_here() {
        assert_eq!(
            result(Errno::ENETUNREACH, "127.0.0.1:80"),
            ProbeResult::Failed("network unreachable".into())
        );
        // A link-local address without an interface has no route on any machine.
        let nowhere = result(Errno::ENETUNREACH, "[fe80::1]:80");
        assert_eq!(nowhere, ProbeResult::NoRoute("this machine has no route to it".into()));
    }
}
