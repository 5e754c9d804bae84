//! What a question wants of each candidate.

use hickory_proto::rr::RecordType;

use super::position::NamePosition;
use crate::{
    catalog::{
        record_list::RecordList,
        records::{CandidateRecord, Lacks, contribution},
    },
    policy::{Candidate, CandidateTarget},
};

/// What a question wants, of a service or of a name below it.
#[derive(Clone)]
pub(super) enum Wanted {
    /// The records of one list.
    List(RecordList<Box<[u8]>>),
    /// A CNAME, which only candidates with a host name have.
    Cname,
    /// Any type: the first list that the pool has records in.
    Any,
    /// One instance's own records.
    Instance {
        /// The instance's label.
        label: String,
        /// The lists that are wanted, the first with records; of candidates with a host name, their
        /// CNAME whatever the type.
        lists: Vec<RecordList<Box<[u8]>>>,
        /// Whether the instance answers with TXT data instead.
        txt: bool,
        /// The answer if there is nothing.
        nothing: String,
    },
    /// Nothing that a candidate has, and why.
    Nothing(String),
}

impl Wanted {
    pub(super) fn new(position: &NamePosition, qtype: RecordType) -> Self {
        let no_such_type = || format!("there is no {qtype} at this name");
        let is_srv = matches!(qtype, RecordType::SRV | RecordType::ANY);
        match position {
            NamePosition::Itself => match (qtype, RecordList::of_type(qtype)) {
                (RecordType::CNAME, _) => Self::Cname,
                (RecordType::ANY, _) => Self::Any,
                (_, Some(list)) => Self::List(list),
                (_, None) => Self::Nothing(no_such_type()),
            },
            NamePosition::Port(labels) if is_srv => Self::List(RecordList::NamedPort(labels.clone())),
            NamePosition::Port(_) | NamePosition::AbovePort => Self::Nothing(no_such_type()),
            NamePosition::Instance { label, has_txt } => Self::Instance {
                label: label.clone(),
                lists: match qtype {
                    RecordType::A => vec![RecordList::V4],
                    RecordType::AAAA => vec![RecordList::V6],
                    RecordType::ANY => vec![RecordList::V4, RecordList::V6],
                    _ => Vec::new(),
                },
                txt: qtype == RecordType::TXT && *has_txt,
                nothing: format!("there is no {qtype} at an instance's name"),
            },
            NamePosition::Nowhere => Self::Nothing("its name is another one".to_owned()),
        }
    }

    /// The records that a candidate adds, or why it adds none.
    pub(super) fn records(&self, candidate: &Candidate) -> Result<Vec<String>, String> {
        match self {
            Self::List(list) => from_list(candidate, list),
            Self::Cname => match &candidate.target {
                CandidateTarget::Host(_) => from_list(candidate, &RecordList::V4),
                CandidateTarget::Addresses { .. } => {
                    Err("it has addresses, so it is not an alias".to_owned())
                }
            },
            Self::Any => self.within(&[candidate]).records(candidate),
            Self::Instance { lists, txt, nothing, .. } => match &candidate.target {
                CandidateTarget::Host(_) => from_list(candidate, &RecordList::V4),
                CandidateTarget::Addresses { .. } if *txt => Ok(vec!["TXT".to_owned()]),
                CandidateTarget::Addresses { .. } => {
                    let records: Vec<_> = lists.iter().map(|list| from_list(candidate, list)).collect();
                    let first = records.iter().find(|records| records.is_ok()).or(records.first());
                    first.cloned().unwrap_or_else(|| Err(nothing.clone()))
                }
            },
            Self::Nothing(why) => Err(why.clone()),
        }
    }

    /// The same, once it is known which candidates the answer is made from: for ANY, that decides the
    /// list.
    pub(super) fn within(&self, pool: &[&Candidate]) -> Self {
        match self {
            Self::Any => {
                let lists = RecordList::ANY;
                let has = |list: &RecordList<Box<[u8]>>| pool.iter().any(|one| from_list(one, list).is_ok());
                Self::List(lists.into_iter().find(has).unwrap_or(RecordList::V4))
            }
            other => other.clone(),
        }
    }

    /// Whether groups take turns only if they have such records, or if they have any instance at all.
    pub(super) fn divides_by_records(&self) -> bool {
        matches!(self, Self::List(list) if list.divides_by_records())
    }
}

fn from_list(candidate: &Candidate, list: &RecordList<Box<[u8]>>) -> Result<Vec<String>, String> {
    let in_words = |record| match (record, &candidate.target) {
        (CandidateRecord::A(address), _) => address.to_string(),
        (CandidateRecord::Aaaa(address), _) => address.to_string(),
        (CandidateRecord::Cname(host), _) => format!("CNAME {host}"),
        (CandidateRecord::Srv(port), CandidateTarget::Addresses { .. }) => {
            format!("{}:{port}", candidate.label)
        }
        (CandidateRecord::Srv(port), CandidateTarget::Host(host)) => format!("{host}:{port}"),
    };
    match contribution(candidate, list.as_deref()) {
        Ok(records) => Ok(records.map(in_words).collect()),
        Err(lacks) => Err(match lacks {
            Lacks::NoIpv4 => "it has no IPv4 address",
            Lacks::NoIpv6 => "it has no IPv6 address",
            Lacks::NoPort => "no source reports its port",
            Lacks::NoSuchPort => "it has no port of that name",
        }
        .to_owned()),
    }
}
