//! Where readers report what they find wrong.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    diagnostics::{Cause, Diagnostic, Diagnostics, Severity},
    text_file::{Mark, Span, TextFile},
};

/// Proof that an error was reported: the configuration is refused, and the caller has nothing to
/// add.
///
/// `Option` was rejected: it has one `None` for "left out" and "wrong".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct Reported(());

impl Reported {
    /// For an error that [`TableReader::finish`](super::table::TableReader::finish) reports.
    pub(super) const fn at_the_end_of_the_table() -> Self {
        Self(())
    }
}

/// What a reader makes of a value; `Err` if the value is wrong.
pub(in crate::config) type Read<T> = Result<T, Reported>;

/// Collects the diagnostics of all files.
#[derive(Debug, Default)]
pub(in crate::config) struct DiagnosticSink {
    diagnostics: RefCell<Vec<Diagnostic>>,
    /// The files, by their order, that could not be read to their end.
    broken: RefCell<HashSet<usize>>,
    /// Every key that a reader took, by kind of table: what the reference must document.
    #[cfg(test)]
    pub(in crate::config) known: RefCell<std::collections::BTreeSet<(&'static str, &'static str)>>,
}

impl DiagnosticSink {
    /// All diagnostics but those that only follow from a syntax error: keys missing from its file,
    /// any other error on its line and, if the line is a table's header, errors in that table's
    /// keys.
    pub(in crate::config) fn into_diagnostics(self) -> Diagnostics {
        let all = self.diagnostics.into_inner();
        let broken = self.broken.into_inner();
        let mut shadows: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut kept = Vec::new();
        for one in all.iter().filter(|one| one.cause == Cause::Syntax) {
            let lines = one.at.shadow();
            if shadows.insert((one.at.file.order, lines.start), lines.end).is_none() {
                kept.push(one.clone());
            }
        }
        let is_shadowed = |one: &Diagnostic| {
            let (file, line) = (one.at.file.order, one.at.line_number());
            shadows.range((file, 0)..=(file, line)).any(|(_, end)| line < *end)
        };
        kept.extend(all.into_iter().filter(|one| match one.cause {
            Cause::Syntax => false,
            Cause::Missing => !broken.contains(&one.at.file.order),
            Cause::Content => !is_shadowed(one),
        }));
        Diagnostics::new(kept)
    }

    /// Notes that `file` could not be read to its end; an error must have been reported for it.
    pub(in crate::config) fn mark_broken(&self, file: &TextFile) {
        self.broken.borrow_mut().insert(file.order);
    }

    /// `Err` if `file` could not be read to its end.
    pub(in crate::config) fn check_unbroken(&self, file: &TextFile) -> Read<()> {
        if self.broken.borrow().contains(&file.order) { Err(Reported(())) } else { Ok(()) }
    }
}

/// A file that is being read, and the sink for its diagnostics.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Scope<'a> {
    pub(in crate::config) file: &'a Arc<TextFile>,
    pub(in crate::config) sink: &'a DiagnosticSink,
}

/// A span with its file.
pub(in crate::config) type FileSpan<'a> = (&'a Arc<TextFile>, Span);

impl<'a> Scope<'a> {
    /// Drafts an error at `span`.
    pub(in crate::config) fn error(self, span: Span, message: impl Into<String>) -> Draft<'a> {
        self.draft(Severity::Error, span, message.into())
    }

    /// Drafts a warning at `span`.
    pub(in crate::config) fn warning(self, span: Span, message: impl Into<String>) -> Draft<'a> {
        self.draft(Severity::Warning, span, message.into())
    }

    fn draft(self, severity: Severity, span: Span, message: String) -> Draft<'a> {
        let at = Mark { file: Arc::clone(self.file), span, label: String::new() };
        Draft {
            sink: self.sink,
            diagnostic: Diagnostic { severity, cause: Cause::Content, at, message, help: None, also: None },
        }
    }
}

/// A diagnostic that is not reported yet.
#[must_use = "a draft has no effect until it is reported"]
pub(in crate::config) struct Draft<'a> {
    sink: &'a DiagnosticSink,
    diagnostic: Diagnostic,
}

impl Draft<'_> {
    /// Sets the text under the mark.
    pub(in crate::config) fn label(mut self, label: impl Into<String>) -> Self {
        self.diagnostic.at.label = label.into();
        self
    }

    /// Sets the advice. User's text in it must be quoted with `{:?}`, which escapes control
    /// characters.
    pub(in crate::config) fn help(mut self, help: impl Into<String>) -> Self {
        self.diagnostic.help = Some(help.into());
        self
    }

    /// Moves the mark.
    pub(in crate::config) fn at(mut self, span: Span) -> Self {
        self.diagnostic.at.span = span;
        self
    }

    /// Marks another place too, such as the first of two duplicates.
    pub(in crate::config) fn also(mut self, (file, span): FileSpan<'_>, label: &str) -> Self {
        self.diagnostic.also = Some(Mark { file: Arc::clone(file), span, label: label.to_owned() });
        self
    }

    /// Sets the kind of error.
    pub(in crate::config) fn cause(mut self, cause: Cause) -> Self {
        self.diagnostic.cause = cause;
        self
    }

    /// Puts the diagnostic into the sink.
    pub(in crate::config) fn report(self) {
        if self.diagnostic.cause == Cause::Syntax {
            self.sink.mark_broken(&self.diagnostic.at.file);
        }
        self.sink.diagnostics.borrow_mut().push(self.diagnostic);
    }

    /// Puts the error into the sink, for readers that end with it.
    pub(in crate::config) fn reject<T>(self) -> Read<T> {
        debug_assert!(self.diagnostic.severity == Severity::Error, "a warning refuses nothing");
        self.report();
        Err(Reported(()))
    }
}
