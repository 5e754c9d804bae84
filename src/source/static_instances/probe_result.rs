//! What one probe has found.

use std::{io, net::IpAddr};

use nix::errno::Errno;

/// What one probe has found, each with its reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProbeResult {
    /// It answers as expected.
    Passed(String),
    /// It does not.
    Failed(String),
    /// Nothing about the instance: this machine could not even try, for want of sockets or memory.
    Untried(String),
}

impl ProbeResult {
    /// What an error of the operating system says about the instance.
    pub(super) fn of(error: &io::Error) -> Self {
        let ours = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM].map(|errno| errno as i32);
        if error.raw_os_error().is_some_and(|code| ours.contains(&code)) {
            return Self::Untried(format!("{error}; raise the limit of open files, or probe less often"));
        }
        Self::Failed(match error.kind() {
            kind @ (io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable) => kind.to_string(),
            _ => error.to_string(),
        })
    }

    /// Puts the address in front of a reason, where there are several that it could be about.
    pub(super) fn at(self, address: IpAddr) -> Self {
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
        let result = ProbeResult::of(&io::Error::from_raw_os_error(Errno::EMFILE as i32));
        assert!(matches!(result, ProbeResult::Untried(_)), "{result:?}");
        let result = ProbeResult::of(&io::Error::from_raw_os_error(Errno::EHOSTUNREACH as i32));
        assert_eq!(result, ProbeResult::Failed("host unreachable".into()));
    }
}
