//! Wanted records: those of each candidate that a query asks for.

use hickory_proto::rr::RecordType;

use super::position::NamePosition;
use crate::{
    catalog::{
        record_list::RecordList,
        records::{CandidateRecord, Lacks, contribution},
    },
    policy::{Candidate, CandidateTarget},
};

/// The records that a query asks for, at a service or at a name below it.
#[derive(Clone)]
pub(super) enum Wanted {
    /// The records of one list.
    List(RecordList<Box<[u8]>>),
    /// The CNAME of candidates with a host name.
    Cname,
    /// Any type: the first list of which the pool has records.
    Any,
    /// The records at one instance's name.
    Instance {
        /// The instance's label.
        label: String,
        /// The lists to try, until one has records. A candidate with a host name gives its CNAME
        /// for every type.
        lists: Vec<RecordList<Box<[u8]>>>,
        /// Whether the instance's TXT data is wanted instead.
        txt: bool,
        /// The reason if there are no records.
        nothing: String,
    },
    /// No records of candidates, and why.
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
            NamePosition::Nowhere => Self::Nothing("the queried name is none of its names".to_owned()),
        }
    }

    /// The records that a candidate adds, or the reason why it adds none.
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

    /// The same for a known pool of candidates, which decides the list for ANY.
    pub(super) fn within(&self, pool: &[&Candidate]) -> Self {
        match self {
            Self::Any => {
                let lists = RecordList::ANY;
                let has = |list: &RecordList<Box<[u8]>>| {
                    pool.iter().any(|candidate| from_list(candidate, list).is_ok())
                };
                Self::List(lists.into_iter().find(has).unwrap_or(RecordList::V4))
            }
            other => other.clone(),
        }
    }

    /// Whether only groups with such records take turns, rather than all groups with instances.
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
