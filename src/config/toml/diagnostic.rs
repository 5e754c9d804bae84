//! What is wrong with a configuration, and where: data first, pictures on demand.

use std::{
    collections::BTreeSet,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

/// Pictures drawn of one report; what is beyond is counted only.
const MAX_PICTURES: usize = 50;

/// One file as it was read.
#[derive(Debug)]
pub(in crate::config) struct SourceFile {
    /// Its path as shown to people.
    pub(in crate::config) path: PathBuf,
    /// Its text.
    pub(in crate::config) text: String,
    /// Its place among the files that were read: reports are in this order.
    pub(in crate::config) order: usize,
    /// Where its lines begin.
    lines: Vec<usize>,
}

impl SourceFile {
    pub(in crate::config) fn new(path: PathBuf, text: String, order: usize) -> Arc<Self> {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Arc::new(Self { path, text, order, lines })
    }
}

/// A range of bytes of a file's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::config) struct Span {
    pub(in crate::config) start: usize,
    pub(in crate::config) end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// Whether a diagnostic refuses the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but something will not be as written.
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

/// Where in a file: line and column count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file, as shown to people.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// One thing that is wrong. `Display` gives it on one line, for logs.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    pub(in crate::config) severity: Severity,
    pub(in crate::config) cause: Cause,
    pub(in crate::config) at: Mark,
    pub(in crate::config) message: String,
    pub(in crate::config) help: Option<String>,
    pub(in crate::config) also: Option<Mark>,
}

/// What kind of error it is, for leaving out those that only follow from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Cause {
    /// The text is not TOML, or could not be read.
    Syntax,
    /// What is written is wrong.
    Written,
    /// Something is not there: no news in a file that could not be read to its end.
    Missing,
}

/// A marked range of a file, with what to write under it.
#[derive(Clone, Debug)]
pub(in crate::config) struct Mark {
    pub(in crate::config) file: Arc<SourceFile>,
    pub(in crate::config) span: Span,
    pub(in crate::config) label: String,
}

impl Mark {
    /// The marked line: its number from 1, its text, and the range of bytes in it, cut at its end.
    fn line(&self) -> (usize, &str, Span) {
        let text = self.file.text.as_str();
        let start = floor(text, self.span.start);
        let end = floor(text, self.span.end);
        let number = self.file.lines.partition_point(|begin| *begin <= start).max(1);
        let begin = self.file.lines.get(number - 1).copied().unwrap_or_default();
        let line = text.get(begin..).unwrap_or_default();
        let line = line.split_once('\n').map_or(line, |(line, _)| line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let first = (start - begin).min(line.len());
        let last = end.saturating_sub(begin).clamp(first, line.len());
        (number, line, Span { start: first, end: last })
    }

    fn place(&self) -> Position {
        let (number, line, span) = self.line();
        let column = line.get(..span.start).unwrap_or_default().chars().count() + 1;
        Position { file: self.file.path.clone(), line: number, column }
    }

    /// The number of the marked line, from 1.
    pub(in crate::config) fn line_number(&self) -> usize {
        self.line().0
    }

    /// The lines that a syntax error here makes unsure, by number: its own, and from a table's header on all that are
    /// before the next header.
    pub(in crate::config) fn shadow(&self) -> Range<usize> {
        let (number, line, _) = self.line();
        let is_header = |line: &str| line.trim_start().starts_with('[');
        if !is_header(line) {
            return number..number + 1;
        }
        let after = self.file.text.lines().skip(number);
        number..number + 1 + after.take_while(|line| !is_header(line)).count()
    }

    /// Draws the marked line, and with it `also` if that is on the same line.
    fn picture<'p>(&'p self, kind: AnnotationKind, also: Option<&'p Self>) -> Snippet<'p, Annotation<'p>> {
        let (number, line, _) = self.line();
        Snippet::source(printable(line))
            .path(self.file.path.to_string_lossy())
            .line_start(number)
            .annotation(self.annotation(kind))
            .annotations(also.map(|also| also.annotation(AnnotationKind::Context)))
    }

    fn annotation(&self, kind: AnnotationKind) -> Annotation<'_> {
        let (_, line, span) = self.line();
        let drawn = |at: usize| printable(line.get(..at).unwrap_or_default()).len();
        let label = (!self.label.is_empty()).then_some(self.label.as_str());
        kind.span(drawn(span.start)..drawn(span.end)).label(label)
    }

    fn is_on_the_line_of(&self, other: &Self) -> bool {
        self.file.order == other.file.order && self.line_number() == other.line_number()
    }
}

/// The text with its control characters replaced: a file is not to speak to the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

/// The nearest character border at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl Diagnostic {
    /// Whether it refuses the configuration.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Where it is.
    pub fn place(&self) -> Position {
        self.at.place()
    }

    /// The file it is in, as shown to people.
    pub fn file(&self) -> &Path {
        &self.at.file.path
    }

    /// What is wrong, without the place and without what was found.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What was found, as written under the mark; may be empty.
    pub fn found(&self) -> &str {
        &self.at.label
    }

    /// What to do about it, if there is more to say than the message does.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let (near, far) = match &self.also {
            Some(also) if also.is_on_the_line_of(&self.at) => (Some(also), None),
            also => (None, also.as_ref()),
        };
        let picture = self.at.picture(AnnotationKind::Primary, near);
        let mut group: Group<'_> = level.primary_title(self.message.as_str()).element(picture);
        if let Some(far) = far {
            group = group.element(far.picture(AnnotationKind::Context, None));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place(), self.severity, self.message)?;
        if !self.at.label.is_empty() {
            write!(f, "; {}", self.at.label)?;
        }
        if let Some(also) = &self.also {
            write!(f, "; {}: {}", also.place(), also.label)?;
        }
        match &self.help {
            Some(help) => write!(f, "; {}", help.replace('\n', " ")),
            None => Ok(()),
        }
    }
}

/// Everything that there is to say about a configuration's files, in the order of files and places.
///
/// `Display` gives [`render`](Self::render) without colour.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    diagnostics: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(in crate::config) fn new(mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|one| (one.at.file.order, one.at.span.start));
        Self { diagnostics }
    }

    /// Every diagnostic.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Tells whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|one| one.severity == severity).count()
    }

    /// The counts, such as `3 errors, 1 warning in 2 files`.
    pub fn summary(&self) -> String {
        let files: BTreeSet<_> = self.diagnostics.iter().map(Diagnostic::file).collect();
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

    /// Draws every diagnostic, up to 50, then the summary; ANSI colours if `colour`. Ends with a newline.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled().hyperlink(false) } else { Renderer::plain() };
        let mut text = String::new();
        for diagnostic in self.diagnostics.iter().take(MAX_PICTURES) {
            text.push_str(&diagnostic.render(&renderer));
            text.push_str("\n\n");
        }
        if let Some(more @ 1..) = self.diagnostics.len().checked_sub(MAX_PICTURES) {
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
