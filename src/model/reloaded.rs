//! What became of reading the configuration again.

use serde::Serialize;

/// What came of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReloadResult {
    /// The new configuration is in effect.
    Applied,
    /// The files say what they said before.
    Unchanged,
    /// The configuration cannot be used: the old one stays in effect.
    Refused,
}

impl ReloadResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Applied, Self::Unchanged, Self::Refused];

    /// Its name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// A reload's outcome, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// What came of it.
    pub result: ReloadResult,
    /// All of it in words, with every diagnostic drawn; ends with a newline.
    #[serde(skip)]
    pub text: String,
    /// What was said of the files.
    pub diagnostics: Vec<ReloadDiagnostic>,
    /// What else there is to know, such as a change that takes a restart.
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
    /// What is wrong.
    pub message: String,
    /// What was found there; may be empty.
    pub found: String,
    /// What to do about it, if there is more to say than the message does.
    pub help: Option<String>,
}
