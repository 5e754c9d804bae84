//! Candidates for tests.

use super::candidate::{Candidate, CandidateTarget};
use crate::model::{Health, Labels};

/// A candidate with this label and health, address 127.0.0.1, port 80 and weight 1. It was healthy
/// before unless it is unknown.
pub(crate) fn candidate(label: &str, health: Health) -> Candidate {
    Candidate {
        label: label.to_owned(),
        aliases: Vec::new(),
        target: CandidateTarget::Addresses { v4: vec![[127, 0, 0, 1].into()], v6: Vec::new() },
        port: 80,
        named_ports: Vec::new(),
        health,
        ever_healthy: health != Health::Unknown,
        weight: 1,
        labels: Labels::default(),
        locality: None,
        datacenter: None,
        sources: Vec::new(),
    }
}
