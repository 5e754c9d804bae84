//! A reader of TOML tables that knows where every value stands and which keys were read.
//!
//! Readers are functions from [`Item`] to [`Read`]. A reader takes all of its table's keys before
//! it gives up, so that one mistake does not hide the next.

use toml::de::{DeTable, DeValue};

use super::{
    diagnostics::Cause,
    sink::{Draft, FileSpan, Read, Reported, Scope},
    text_file::Span,
    words::{list, shorten},
};
use crate::model::nearest;

/// A value with its key and their places.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Item<'a> {
    /// The key; for the elements of a list, the key of the list.
    pub(in crate::config) name: &'a str,
    /// Where the key is.
    pub(in crate::config) key: Span,
    /// The value.
    pub(in crate::config) value: &'a DeValue<'a>,
    /// Where the value is; for a table with a header, where the header is.
    pub(in crate::config) span: Span,
    /// The file, and the sink for its diagnostics.
    pub(in crate::config) scope: Scope<'a>,
}

impl<'a> Item<'a> {
    /// Drafts an error at the value: `"key" must be …`, with `found …` under the mark.
    pub(in crate::config) fn must_be(&self, expected: &str) -> Draft<'a> {
        self.error(format!("{:?} must be {expected}", self.name))
            .label(format!("found {}", describe(self.value)))
    }

    /// Drafts an error at the value.
    pub(in crate::config) fn error(&self, message: impl Into<String>) -> Draft<'a> {
        self.scope.error(self.span, message)
    }

    /// Where the value is, for [`Draft::also`].
    pub(in crate::config) fn place(&self) -> FileSpan<'a> {
        (self.scope.file, self.span)
    }

    /// Where the key is, for [`Draft::also`].
    pub(in crate::config) fn key_place(&self) -> FileSpan<'a> {
        (self.scope.file, self.key)
    }

    /// Reads a string that is neither blank nor has control characters.
    pub(in crate::config) fn text(&self) -> Read<&'a str> {
        self.text_as("a string in quotes")
    }

    /// As [`text`](Self::text), for a string that must be `expected`.
    pub(in crate::config) fn text_as(&self, expected: &str) -> Read<&'a str> {
        const MAX: usize = 4096;
        let Some(text) = self.value.as_str() else {
            return self.must_be(expected).reject();
        };
        if text.trim().is_empty() {
            return self.must_be(expected).label("found a blank string").reject();
        }
        if text.len() > MAX {
            return self.must_be(expected).label(format!("longer than {MAX} bytes")).reject();
        }
        if text.chars().any(char::is_control) {
            return self.must_be(expected).label("has a control character, such as a line break").reject();
        }
        Ok(text)
    }

    /// Reads a whole number within `min..=max`, which must fit `N`.
    pub(in crate::config) fn number<N: TryFrom<i64>>(&self, min: i64, max: i64) -> Read<N> {
        debug_assert!(N::try_from(min).is_ok() && N::try_from(max).is_ok(), "the limits fit the type");
        let number = self.integer().filter(|number| (min..=max).contains(number));
        if let Some(number) = number.and_then(|number| N::try_from(number).ok()) {
            return Ok(number);
        }
        let draft = self.must_be(&format!("a number from {min} to {max}"));
        match self.value {
            DeValue::String(text) if text.parse::<i64>().is_ok() => {
                draft.help("write it without the quotes").reject()
            }
            _ => draft.reject(),
        }
    }

    /// The whole number that the value is, if it is one that fits; reports nothing.
    pub(in crate::config) fn integer(&self) -> Option<i64> {
        let integer = self.value.as_integer()?;
        i64::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    /// Reads `true` or `false`.
    pub(in crate::config) fn boolean(&self) -> Read<bool> {
        match self.value.as_bool() {
            Some(value) => Ok(value),
            None => self.must_be("true or false, without quotes").reject(),
        }
    }

    /// Reads one of a few words.
    pub(in crate::config) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Read<T> {
        let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let expected = list(&names, "or");
        let Some(text) = self.value.as_str() else {
            return self.must_be(&expected).reject();
        };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(*value),
            None => {
                let draft = self.must_be(&expected);
                match nearest(text, names) {
                    Some(near) => draft.help(format!("did you mean {near:?}?")).reject(),
                    None => draft.reject(),
                }
            }
        }
    }

    /// Reads every element of a list; any other value counts as a list of one. Leaves out elements
    /// that are wrong.
    pub(in crate::config) fn list<T>(&self, mut read: impl FnMut(Item<'a>) -> Read<T>) -> Vec<T> {
        self.elements().filter_map(|element| read(element).ok()).collect()
    }

    /// As [`list`](Self::list), but an empty list is an error; `element` names what it must have.
    /// `Err` if every element is wrong.
    pub(in crate::config) fn non_empty_list<T>(
        &self,
        element: &str,
        mut read: impl FnMut(Item<'a>) -> Read<T>,
    ) -> Read<Vec<T>> {
        let mut good = Vec::new();
        let mut reported = None;
        for element in self.elements() {
            match read(element) {
                Ok(value) => good.push(value),
                Err(error) => reported = Some(error),
            }
        }
        match reported {
            Some(reported) if good.is_empty() => Err(reported),
            None if good.is_empty() => self
                .error(format!("{:?} must have at least one {element}", self.name))
                .label("found an empty list")
                .reject(),
            _ => Ok(good),
        }
    }

    /// As [`non_empty_list`](Self::non_empty_list), but `Err` if any element is wrong. All elements
    /// are read in any case.
    pub(in crate::config) fn complete_list<T>(
        &self,
        element: &str,
        mut read: impl FnMut(Item<'a>) -> Read<T>,
    ) -> Read<Vec<T>> {
        let mut reported = None;
        let good = self
            .non_empty_list(element, |element| read(element).inspect_err(|error| reported = Some(*error)))?;
        reported.map_or(Ok(good), Err)
    }

    fn elements(&self) -> impl Iterator<Item = Self> + use<'a> {
        let item = *self;
        let array = self.value.as_array();
        let elements = array.into_iter().flat_map(|array| array.iter()).map(move |element| Item {
            value: element.get_ref(),
            span: element.span().into(),
            ..item
        });
        elements.chain(array.is_none().then_some(item))
    }

    /// The number of elements that [`list`](Self::list) reads.
    pub(in crate::config) fn count(&self) -> usize {
        self.value.as_array().map_or(1, |array| array.len())
    }

    /// Reads the pairs of a table with free keys.
    pub(in crate::config) fn entries(&self, expected: &str) -> Read<Vec<Item<'a>>> {
        match self.value {
            DeValue::Table(table) => Ok(entries(table, self.scope)),
            _ => self.must_be(expected).reject(),
        }
    }

    /// The place of a string's bytes from `offset` on; the whole value if the string has escapes.
    pub(in crate::config) fn within(&self, offset: usize) -> Span {
        let text = &self.scope.file.text;
        debug_assert!(text.get(self.span.start..self.span.end).is_some(), "a span is within its file");
        let source = text.get(self.span.start..self.span.end).unwrap_or_default();
        let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| source.starts_with(*quote));
        let (Some(quote), Some(value)) = (quote, self.value.as_str()) else {
            return self.span;
        };
        let inner = source.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if inner != Some(value) {
            return self.span;
        }
        let start = self.span.start + quote.len() + offset.min(value.len());
        Span { start, end: (self.span.end - quote.len()).max(start + 1) }
    }
}

/// A table whose keys its reader knows.
pub(in crate::config) struct TableReader<'a> {
    kind: &'static str,
    entries: &'a DeTable<'a>,
    /// Where it is: its header, its braces, or the beginning of the file.
    pub(in crate::config) span: Span,
    /// The file, and the sink for its diagnostics.
    pub(in crate::config) scope: Scope<'a>,
    known: Vec<&'static str>,
    missing: Vec<MissingKey>,
}

/// An error about a missing key, which is reported once all keys are known.
struct MissingKey {
    /// The keys of which one must be there.
    keys: Vec<&'static str>,
    message: String,
    help: String,
}

impl<'a> TableReader<'a> {
    /// Begins to read a document.
    pub(in crate::config) fn root(kind: &'static str, entries: &'a DeTable<'a>, scope: Scope<'a>) -> Self {
        Self { kind, entries, span: Span::default(), scope, known: Vec::new(), missing: Vec::new() }
    }

    /// Begins to read a table; `kind` is its name in errors and in the reference.
    pub(in crate::config) fn new(kind: &'static str, item: &Item<'a>) -> Read<Self> {
        match item.value {
            DeValue::Table(entries) => Ok(Self { span: item.span, ..Self::root(kind, entries, item.scope) }),
            _ => item.must_be("a table").reject(),
        }
    }

    /// The value of `key`, if it is there; from then on the key is known.
    pub(in crate::config) fn take(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.take_shared(self.kind, key)
    }

    /// As [`take`](Self::take), for a key that several kinds of tables share: the reference lists
    /// it once, under `kind`.
    pub(in crate::config) fn take_shared(
        &mut self,
        kind: &'static str,
        key: &'static str,
    ) -> Option<Item<'a>> {
        self.known.push(key);
        #[cfg(test)]
        self.scope.sink.known.borrow_mut().insert((kind, key));
        #[cfg(not(test))]
        let _ = kind;
        self.peek(key)
    }

    /// Takes and reads `key`; `None` if it is left out.
    pub(in crate::config) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Item<'a>) -> Read<T>,
    ) -> Read<Option<T>> {
        self.take(key).map(read).transpose()
    }

    /// Takes and reads `key`; `default` if it is left out, and also if it is wrong, so that the
    /// reader can go on.
    pub(in crate::config) fn read_or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(Item<'a>) -> Read<T>,
    ) -> T {
        self.take(key).and_then(|item| read(item).ok()).unwrap_or(default)
    }

    /// As [`take`](Self::take), but a missing key is an error, with `example` as advice.
    pub(in crate::config) fn require(&mut self, key: &'static str, example: &str) -> Read<Item<'a>> {
        let item = self.take(key);
        item.ok_or_else(|| {
            self.is_missing([key], format!("{} needs {key:?}", self.kind), format!("for example, {example}"))
        })
    }

    /// Records that one of `keys` must be there, for [`finish`](Self::finish) to report. If another
    /// key looks like a misspelling of one of them, that error is enough.
    pub(in crate::config) fn is_missing(
        &mut self,
        keys: impl Into<Vec<&'static str>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Reported {
        self.missing.push(MissingKey { keys: keys.into(), message: message.into(), help: help.into() });
        Reported::at_the_end_of_the_table()
    }

    /// The value of `key`, without making the key known.
    pub(in crate::config) fn peek(&self, key: &str) -> Option<Item<'a>> {
        let (key, value) = self.entries.get_key_value(key)?;
        Some(Item {
            name: key.get_ref().as_ref(),
            key: key.span().into(),
            value: value.get_ref(),
            span: value.span().into(),
            scope: self.scope,
        })
    }

    /// The table's keys, in any order.
    pub(in crate::config) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.entries.keys().map(|key| key.get_ref().as_ref())
    }

    /// Ends reading: reports every key that is not known, and every key that is missing.
    pub(in crate::config) fn finish(self) {
        // The caller's own values tell whether it can go on.
        let _: Read<()> = self.finish_with(|_| None);
    }

    /// As [`finish`](Self::finish); `hint` gives advice for keys that belong elsewhere. `Err` if
    /// there was anything to report.
    pub(in crate::config) fn finish_with(self, hint: impl Fn(&str) -> Option<String>) -> Read<()> {
        let mut finished = Ok(());
        let mut meant = Vec::new();
        for item in entries(self.entries, self.scope) {
            if self.known.contains(&item.name) {
                continue;
            }
            let near = nearest(item.name, self.known.iter().copied());
            meant.extend(near);
            let help = hint(item.name).unwrap_or_else(|| match near {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("valid keys are {}", list(&self.known, "and")),
            });
            let message = format!("unknown key {:?} in {}", shorten(item.name), self.kind);
            finished = self.scope.error(item.key, message).help(help).reject();
        }
        for missing in self.missing {
            if !missing.keys.iter().any(|key| meant.contains(key)) {
                let draft = self.scope.error(self.span, missing.message);
                finished = draft.help(missing.help).cause(Cause::Missing).reject();
            }
        }
        finished
    }
}

/// A table's pairs in the order of the file.
fn entries<'a>(table: &'a DeTable<'a>, scope: Scope<'a>) -> Vec<Item<'a>> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| Item {
            name: key.get_ref().as_ref(),
            key: key.span().into(),
            value: value.get_ref(),
            span: value.span().into(),
            scope,
        })
        .collect();
    entries.sort_by_key(|entry| entry.key.start);
    entries
}

/// A value in a few words, such as `the number 5`.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {:?}", shorten(text)),
        DeValue::Integer(number) => format!("the number {}", shorten(number.as_str())),
        DeValue::Float(number) => format!("the number {}", shorten(number.as_str())),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
