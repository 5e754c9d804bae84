//! The files as they were read, and places in them.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

/// One file as it was read.
#[derive(Debug)]
pub(in crate::config) struct TextFile {
    /// The path that diagnostics show.
    pub(in crate::config) path: PathBuf,
    /// The content.
    pub(in crate::config) text: String,
    /// The number of files that were read before this one; diagnostics are sorted by it.
    pub(in crate::config) order: usize,
    /// The byte offset of each line.
    lines: Vec<usize>,
}

impl TextFile {
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

/// A position in a file: line and column count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePosition {
    /// The file's path.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// A marked range of a file, with the label under it.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) file: Arc<TextFile>,
    pub(super) span: Span,
    /// May be empty.
    pub(super) label: String,
}

impl Mark {
    /// The marked line: its number from 1, its text, and the range of bytes in it, cut at its end.
    pub(super) fn line(&self) -> (usize, &str, Span) {
        let text = self.file.text.as_str();
        let start = floor_char_boundary(text, self.span.start);
        let end = floor_char_boundary(text, self.span.end);
        let number = self.file.lines.partition_point(|begin| *begin <= start).max(1);
        debug_assert!(number <= self.file.lines.len(), "a file has at least one line, which begins at 0");
        let begin = self.file.lines.get(number - 1).copied().unwrap_or_default();
        debug_assert!(text.is_char_boundary(begin), "a line begins after a newline");
        let line = text.get(begin..).unwrap_or_default();
        let line = line.split_once('\n').map_or(line, |(line, _)| line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let first = (start - begin).min(line.len());
        let last = end.saturating_sub(begin).clamp(first, line.len());
        (number, line, Span { start: first, end: last })
    }

    pub(super) fn position(&self) -> FilePosition {
        let (number, line, span) = self.line();
        debug_assert!(line.is_char_boundary(span.start), "a mark starts between two characters");
        let column = line.get(..span.start).unwrap_or_default().chars().count() + 1;
        FilePosition { file: self.file.path.clone(), line: number, column }
    }

    /// The number of the marked line, from 1.
    pub(super) fn line_number(&self) -> usize {
        self.line().0
    }

    /// The numbers of the lines that a syntax error here makes unreliable: the marked line and, if
    /// that is a table's header, all lines up to the next header.
    pub(super) fn shadow(&self) -> Range<usize> {
        let (number, line, _) = self.line();
        let is_header = |line: &str| line.trim_start().starts_with('[');
        if !is_header(line) {
            return number..number + 1;
        }
        let after = self.file.text.lines().skip(number);
        number..number + 1 + after.take_while(|line| !is_header(line)).count()
    }

    pub(super) fn is_on_the_line_of(&self, other: &Self) -> bool {
        self.file.order == other.file.order && self.line_number() == other.line_number()
    }
}

/// The nearest character boundary at or before `at`.
fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
