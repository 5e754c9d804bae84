//! What is wrong with a configuration, and where: data first, pictures on demand.

use std::{collections::BTreeSet, fmt, path::Path};

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

use super::text_file::{FilePosition, Mark};

/// Most diagnostics that are drawn; the rest are only counted.
const MAX_PICTURES: usize = 50;

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is accepted, but something in it has no effect or is risky.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One error or warning. `Display` writes it on one line, for logs.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    pub(super) severity: Severity,
    pub(super) cause: Cause,
    pub(super) at: Mark,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) also: Option<Mark>,
}

/// The kind of error; errors that only follow from another one are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Cause {
    /// The text is not TOML, or could not be read.
    Syntax,
    /// The text says something wrong.
    Content,
    /// Something is not there, which means nothing in a file that could not be read to its end.
    Missing,
}

impl Diagnostic {
    /// The severity.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The position of the mark's first character.
    pub fn position(&self) -> FilePosition {
        self.at.position()
    }

    /// The path of the file.
    pub fn file(&self) -> &Path {
        &self.at.file.path
    }

    /// What is wrong, without the position and without the label.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The text under the mark, such as `found the number 5`; may be empty.
    pub fn label(&self) -> &str {
        &self.at.label
    }

    /// What to do about it, if the message does not say so already.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let (same_line, other_line) = match &self.also {
            Some(also) if also.is_on_the_line_of(&self.at) => (Some(also), None),
            also => (None, also.as_ref()),
        };
        let marked = picture(&self.at, AnnotationKind::Primary, same_line);
        let mut group: Group<'_> = level.primary_title(self.message.as_str()).element(marked);
        if let Some(other) = other_line {
            group = group.element(picture(other, AnnotationKind::Context, None));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.position(), self.severity, self.message)?;
        if !self.at.label.is_empty() {
            write!(f, "; {}", self.at.label)?;
        }
        if let Some(also) = &self.also {
            write!(f, "; {}: {}", also.position(), also.label)?;
        }
        match &self.help {
            Some(help) => write!(f, "; {}", help.replace('\n', " ")),
            None => Ok(()),
        }
    }
}

/// Draws the marked line, and with it `also` if that is on the same line.
fn picture<'p>(mark: &'p Mark, kind: AnnotationKind, also: Option<&'p Mark>) -> Snippet<'p, Annotation<'p>> {
    let (number, line, _) = mark.line();
    Snippet::source(printable(line))
        .path(mark.file.path.to_string_lossy())
        .line_start(number)
        .annotation(annotation(mark, kind))
        .annotations(also.map(|also| annotation(also, AnnotationKind::Context)))
}

fn annotation(mark: &Mark, kind: AnnotationKind) -> Annotation<'_> {
    let (_, line, span) = mark.line();
    let drawn = |at: usize| {
        debug_assert!(line.is_char_boundary(at), "a mark begins and ends between two characters");
        printable(line.get(..at).unwrap_or_default()).len()
    };
    let label = (!mark.label.is_empty()).then_some(mark.label.as_str());
    kind.span(drawn(span.start)..drawn(span.end)).label(label)
}

/// The text without its control characters, so that a file cannot send escape sequences to the
/// terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

/// All errors and warnings of a configuration, in the order of files and positions.
///
/// `Display` writes [`render`](Self::render) without color.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(super) fn new(mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|one| (one.at.file.order, one.at.span.start));
        Self { list }
    }

    /// Every diagnostic.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.list
    }

    /// Whether there is neither an error nor a warning.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The number of errors.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// The number of warnings.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|one| one.severity == severity).count()
    }

    /// The counts, such as `3 errors, 1 warning in 2 files`.
    pub fn summary(&self) -> String {
        let files: BTreeSet<_> = self.list.iter().map(Diagnostic::file).collect();
        let counted = |count: usize, word: &str| match count {
            1 => format!("1 {word}"),
            _ => format!("{count} {word}s"),
        };
        let parts = [(self.errors(), "error"), (self.warnings(), "warning")];
        let parts: Vec<_> = parts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| counted(count, word))
            .collect();
        if parts.is_empty() {
            return "no errors".to_owned();
        }
        format!("{} in {}", parts.join(", "), counted(files.len(), "file"))
    }

    /// Draws every diagnostic, up to 50, then the summary; with ANSI colors if `color`.
    ///
    /// *Shape*: ends with a newline.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled().hyperlink(false) } else { Renderer::plain() };
        let mut text = String::new();
        for diagnostic in self.list.iter().take(MAX_PICTURES) {
            text.push_str(&diagnostic.render(&renderer));
            text.push_str("\n\n");
        }
        if let Some(more @ 1..) = self.list.len().checked_sub(MAX_PICTURES) {
            text.push_str(&format!("... and {more} more\n\n"));
        }
        text.push_str(&self.summary());
        text.push('\n');
        text
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}
