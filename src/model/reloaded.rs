//! The outcome of a reload.

use serde::Serialize;

/// The result of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReloadResult {
    /// The new configuration is running.
    Applied,
    /// The files are equal to the running configuration.
    Unchanged,
    /// The configuration cannot be used; the old one keeps running.
    Rejected,
}

impl ReloadResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Applied, Self::Unchanged, Self::Rejected];

    /// Its name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Rejected => "rejected",
        }
    }
}

/// The outcome of a reload, as text and as fields of the API (docs/API.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// The result.
    pub result: ReloadResult,
    /// All of the outcome as text, with every diagnostic rendered; ends with a newline.
    #[serde(skip)]
    pub text: String,
    /// The errors and warnings in the files.
    pub diagnostics: Vec<ReloadDiagnostic>,
    /// Other remarks, such as a change that requires a restart.
    pub notes: Vec<String>,
}

/// One error or warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReloadDiagnostic {
    /// `error` or `warning`.
    pub severity: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
    /// The problem.
    pub message: String,
    /// What the file has at that place; may be empty.
    pub found: String,
    /// A hint beyond the message, if there is one.
    pub help: Option<String>,
}
