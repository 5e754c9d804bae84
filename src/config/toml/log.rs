//! Where readers put what they find wrong.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::diagnostic::{Cause, Diagnostic, Diagnostics, Mark, Severity, SourceFile, Span};

/// What was found wrong so far, over all files.
#[derive(Debug, Default)]
pub(in crate::config) struct DiagnosticSink {
    diagnostics: RefCell<Vec<Diagnostic>>,
    /// Files, by their order, that could not be read to their end.
    broken: RefCell<HashSet<usize>>,
    /// Every key that a reader asked for, by kind of table: what the reference must document.
    #[cfg(test)]
    pub(in crate::config) known: RefCell<std::collections::BTreeSet<(&'static str, &'static str)>>,
}

impl DiagnosticSink {
    /// Gives everything up, but what only follows from a syntax error: things missing from its file, anything else on
    /// its line, and behind a broken header what its keys were taken for.
    pub(in crate::config) fn into_report(self) -> Diagnostics {
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
            Cause::Written => !is_shadowed(one),
        }));
        Diagnostics::new(kept)
    }

    /// Notes that a file could not be read to its end, so that nothing is said to be missing in it.
    pub(in crate::config) fn mark_broken(&self, file: &SourceFile) {
        self.broken.borrow_mut().insert(file.order);
    }

    /// Tells whether `file` could not be read to its end.
    pub(in crate::config) fn is_broken(&self, file: &SourceFile) -> bool {
        self.broken.borrow().contains(&file.order)
    }
}

/// A file that is being read, and the log.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Scope<'a> {
    pub(in crate::config) file: &'a Arc<SourceFile>,
    pub(in crate::config) log: &'a DiagnosticSink,
}

impl<'a> Scope<'a> {
    /// Begins an error at `span`.
    pub(in crate::config) fn error(self, span: Span, message: impl Into<String>) -> Draft<'a> {
        self.draft(Severity::Error, span, message.into())
    }

    /// Begins a warning at `span`.
    pub(in crate::config) fn warning(self, span: Span, message: impl Into<String>) -> Draft<'a> {
        self.draft(Severity::Warning, span, message.into())
    }

    fn draft(self, severity: Severity, span: Span, message: String) -> Draft<'a> {
        let at = Mark { file: Arc::clone(self.file), span, label: String::new() };
        Draft {
            log: self.log,
            diagnostic: Diagnostic { severity, cause: Cause::Written, at, message, help: None, also: None },
        }
    }
}

/// A diagnostic that is not in the log yet.
#[must_use = "a draft says nothing until it is reported"]
pub(in crate::config) struct Draft<'a> {
    log: &'a DiagnosticSink,
    diagnostic: Diagnostic,
}

impl Draft<'_> {
    /// Says what stands under the mark.
    pub(in crate::config) fn label(mut self, label: impl Into<String>) -> Self {
        self.diagnostic.at.label = label.into();
        self
    }

    /// Says what to do. User's text in it must be quoted with `{:?}`, which keeps control characters out.
    pub(in crate::config) fn help(mut self, help: impl Into<String>) -> Self {
        self.diagnostic.help = Some(help.into());
        self
    }

    /// Moves the mark.
    pub(in crate::config) fn at(mut self, span: Span) -> Self {
        self.diagnostic.at.span = span;
        self
    }

    /// Marks another place too, such as the first of two that are equal.
    pub(in crate::config) fn also(mut self, place: (&Arc<SourceFile>, Span), label: &str) -> Self {
        self.diagnostic.also =
            Some(Mark { file: Arc::clone(place.0), span: place.1, label: label.to_owned() });
        self
    }

    /// Says what kind of error it is.
    pub(in crate::config) fn cause(mut self, cause: Cause) -> Self {
        self.diagnostic.cause = cause;
        self
    }

    /// Puts it into the log.
    pub(in crate::config) fn report(self) {
        if self.diagnostic.cause == Cause::Syntax {
            self.log.mark_broken(&self.diagnostic.at.file);
        }
        self.log.diagnostics.borrow_mut().push(self.diagnostic);
    }

    /// Puts it into the log; for readers that end with it.
    pub(in crate::config) fn reject<T>(self) -> Option<T> {
        self.report();
        None
    }
}
