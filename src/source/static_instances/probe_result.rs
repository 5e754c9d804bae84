//! The result of one probe.

use std::{io, net::IpAddr};

use nix::errno::Errno;

/// The result of one probe, with the reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProbeResult {
    /// The instance responded as expected.
    Passed(String),
    /// The instance did not respond, or not as expected.
    Failed(String),
    /// The probe could not start, since this machine lacks sockets or memory. This tells nothing
    /// about the instance.
    Untried(String),
}

impl ProbeResult {
    /// Makes a result of an error of the operating system: a local lack of resources is not the
    /// instance's failure.
    pub(super) fn from_io_error(error: &io::Error) -> Self {
        let local = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM].map(|errno| errno as i32);
        if error.raw_os_error().is_some_and(|code| local.contains(&code)) {
            return Self::Untried(format!("{error}; raise the open files limit, or probe less often"));
        }
        Self::Failed(match error.kind() {
            kind @ (io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable) => kind.to_string(),
            _ => error.to_string(),
        })
    }

    /// Puts the address in front of the reason, for instances that have several.
    pub(super) fn with_address(self, address: IpAddr) -> Self {
        match self {
            Self::Passed(reason) => Self::Passed(format!("{address}: {reason}")),
            Self::Failed(reason) => Self::Failed(format!("{address}: {reason}")),
            Self::Untried(reason) => Self::Untried(format!("{address}: {reason}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_sockets_is_not_the_instances_fault() {
        let result = ProbeResult::from_io_error(&io::Error::from_raw_os_error(Errno::EMFILE as i32));
        assert!(matches!(result, ProbeResult::Untried(_)), "{result:?}");
        let result = ProbeResult::from_io_error(&io::Error::from_raw_os_error(Errno::EHOSTUNREACH as i32));
        assert_eq!(result, ProbeResult::Failed("host unreachable".into()));
    }
}
