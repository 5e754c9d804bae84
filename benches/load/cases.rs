//! The cases at saturation, and their goals.

use crate::question::Kind;

/// One kind of load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Its name for `--only`.
    pub(crate) key: &'static str,
    /// Its name in tables, without the number of names.
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
    /// Whether it uses the large namespace.
    pub(crate) many: bool,
    /// Whether all queries come from one port.
    pub(crate) one_socket: bool,
    pub(crate) goal: Option<Goal>,
}

/// The most that a query may cost muster, as a multiple of another server's CPU time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// Of the bare echo.
    Echo(f64),
    /// Of the better rival.
    Rival(f64),
}

pub(crate) const CASES: [Case; 5] = [
    Case {
        key: "a",
        title: "A",
        kind: Kind::A,
        many: false,
        one_socket: false,
        goal: Some(Goal::Echo(1.10)),
    },
    Case {
        key: "srv",
        title: "SRV",
        kind: Kind::Srv,
        many: false,
        one_socket: false,
        goal: Some(Goal::Rival(0.6)),
    },
    Case {
        key: "nxdomain",
        title: "NXDOMAIN",
        kind: Kind::NxDomain,
        many: false,
        one_socket: false,
        goal: Some(Goal::Rival(0.75)),
    },
    Case { key: "forwarder", title: "A, one port", kind: Kind::A, many: false, one_socket: true, goal: None },
    Case {
        key: "many",
        title: "A",
        kind: Kind::A,
        many: true,
        one_socket: false,
        goal: Some(Goal::Echo(1.25)),
    },
];

impl Case {
    /// Its name among others, such as `A, 1,000 names`.
    pub(crate) fn label(&self, names: u32) -> String {
        format!("{}, {} names", self.title, thousands(names.into()))
    }
}

/// A number with commas, such as `100,000`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
