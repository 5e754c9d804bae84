//! A reader of TOML tables that knows where everything stands, which keys were asked for and which were not.
//!
//! Readers are functions from [`Item`] to `Option`: `None` means that the error is in the log already.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::{
    diagnostic::{Cause, SourceFile, Span},
    log::{Draft, Scope},
    words::{list, nearest, shorten},
};

/// A value with its key and its places.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Item<'a> {
    /// The key it stands at; of a list's elements the list's.
    pub(in crate::config) name: &'a str,
    /// Where the key is.
    pub(in crate::config) key: Span,
    /// The value.
    pub(in crate::config) value: &'a DeValue<'a>,
    /// Where the value is: of a table that has a header the header.
    pub(in crate::config) span: Span,
    /// Where it is read.
    pub(in crate::config) scope: Scope<'a>,
}

impl<'a> Item<'a> {
    /// Begins an error at the value: `"key" must be …`, with what was found under the mark.
    pub(in crate::config) fn must_be(&self, what: &str) -> Draft<'a> {
        self.error(format!("{:?} must be {what}", self.name)).label(format!("found {}", found(self.value)))
    }

    /// Begins an error at the value.
    pub(in crate::config) fn error(&self, message: impl Into<String>) -> Draft<'a> {
        self.scope.error(self.span, message)
    }

    /// Reads a string that is not empty and has no control characters.
    pub(in crate::config) fn text(&self) -> Option<&'a str> {
        self.text_as("a text in quotes")
    }

    /// As [`text`](Self::text), where an error is to say that it must be `what`.
    pub(in crate::config) fn text_as(&self, what: &str) -> Option<&'a str> {
        const MAX: usize = 4096;
        let Some(text) = self.value.as_str() else {
            return self.must_be(what).reject();
        };
        if text.trim().is_empty() {
            return self.must_be(what).label("found nothing between the quotes").reject();
        }
        if text.len() > MAX {
            return self.must_be(what).label(format!("longer than {MAX} bytes")).reject();
        }
        if text.chars().any(char::is_control) {
            return self.must_be(what).label("has a control character, such as a line break").reject();
        }
        Some(text)
    }

    /// Reads a whole number within `min..=max`.
    pub(in crate::config) fn number(&self, min: i64, max: i64) -> Option<i64> {
        let what = format!("a number from {min} to {max}");
        match self.value {
            DeValue::Integer(_) => self
                .integer()
                .filter(|number| (min..=max).contains(number))
                .or_else(|| self.must_be(&what).reject()),
            DeValue::String(text) if text.parse::<i64>().is_ok() => {
                self.must_be(&what).help("write it without the quotes").reject()
            }
            _ => self.must_be(&what).reject(),
        }
    }

    /// The whole number that the value is, if it is one that fits; reports nothing.
    pub(in crate::config) fn integer(&self) -> Option<i64> {
        let integer = self.value.as_integer()?;
        i64::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    /// Reads `true` or `false`.
    pub(in crate::config) fn boolean(&self) -> Option<bool> {
        self.value.as_bool().or_else(|| self.must_be("true or false, without quotes").reject())
    }

    /// Reads every element of a list; any other value counts as a list of one. Bad elements are left out.
    pub(in crate::config) fn list<T>(&self, mut read: impl FnMut(Item<'a>) -> Option<T>) -> Vec<T> {
        match self.value {
            DeValue::Array(array) => array
                .iter()
                .filter_map(|element| {
                    read(Item { value: element.get_ref(), span: element.span().into(), ..*self })
                })
                .collect(),
            _ => read(*self).into_iter().collect(),
        }
    }

    /// As [`list`](Self::list), but an empty list is an error; `what` says what it must have.
    pub(in crate::config) fn non_empty_list<T>(
        &self,
        what: &str,
        read: impl FnMut(Item<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        if self.value.as_array().is_some_and(|array| array.is_empty()) {
            return self
                .error(format!("{:?} must have at least one {what}", self.name))
                .label("found an empty list")
                .reject();
        }
        let read = self.list(read);
        (!read.is_empty()).then_some(read)
    }

    /// How many elements [`list`](Self::list) reads.
    pub(in crate::config) fn count(&self) -> usize {
        self.value.as_array().map_or(1, |array| array.len())
    }

    /// Reads the pairs of a table whose keys are free.
    pub(in crate::config) fn entries(&self, what: &str) -> Option<Vec<Item<'a>>> {
        match self.value {
            DeValue::Table(table) => Some(entries(table, self.scope)),
            _ => self.must_be(what).reject(),
        }
    }

    /// Reads one of a few words.
    pub(in crate::config) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let what = one_of(&names);
        let Some(text) = self.value.as_str() else {
            return self.must_be(&what).reject();
        };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Some(*value),
            None => {
                let draft = self.must_be(&what);
                match nearest(text, names) {
                    Some(near) => draft.help(format!("did you mean {near:?}?")).reject(),
                    None => draft.reject(),
                }
            }
        }
    }

    /// Where the value is, for [`Draft::also`].
    pub(in crate::config) fn place(&self) -> (&'a Arc<SourceFile>, Span) {
        (self.scope.file, self.span)
    }

    /// The part of a string's place that its bytes from `offset` on stand at; all of it where it has escapes.
    pub(in crate::config) fn within(&self, offset: usize) -> Span {
        let source = self.scope.file.text.get(self.span.start..self.span.end).unwrap_or_default();
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

/// A table whose keys are known to its reader.
pub(in crate::config) struct TableReader<'a> {
    kind: &'static str,
    entries: &'a DeTable<'a>,
    /// Where it is: its header, its braces, or the beginning of the file.
    pub(in crate::config) span: Span,
    /// Where it is read.
    pub(in crate::config) scope: Scope<'a>,
    known: Vec<&'static str>,
    lacks: Vec<MissingKey>,
}

/// Something that a table needs and has not, to be reported when all of its keys are known.
struct MissingKey {
    /// The keys of which one would have been right.
    keys: Vec<&'static str>,
    message: String,
    help: String,
}

impl<'a> TableReader<'a> {
    /// Begins to read a document.
    pub(in crate::config) fn root(kind: &'static str, entries: &'a DeTable<'a>, scope: Scope<'a>) -> Self {
        Self { kind, entries, span: Span::default(), scope, known: Vec::new(), lacks: Vec::new() }
    }

    /// Begins to read a table; `kind` is what errors and the reference call it.
    pub(in crate::config) fn new(kind: &'static str, item: &Item<'a>) -> Option<Self> {
        match item.value {
            DeValue::Table(entries) => {
                Some(Self { span: item.span, ..Self::root(kind, entries, item.scope) })
            }
            _ => item.must_be("a table").reject(),
        }
    }

    /// Takes a key's value, if it is there; from then on the key is a known one.
    pub(in crate::config) fn take(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.take_of(self.kind, key)
    }

    /// As [`take`](Self::take), for a key that tables of several kinds share: the reference has it once, under `shared`.
    pub(in crate::config) fn take_of(&mut self, shared: &'static str, key: &'static str) -> Option<Item<'a>> {
        self.known.push(key);
        #[cfg(test)]
        self.scope.log.known.borrow_mut().insert((shared, key));
        #[cfg(not(test))]
        let _ = shared;
        self.peek(key)
    }

    /// Looks at a key's value without making the key a known one.
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

    /// As [`take`](Self::take), but a missing key is an error; `example` says how it could look.
    pub(in crate::config) fn require(&mut self, key: &'static str, example: &str) -> Option<Item<'a>> {
        let item = self.take(key);
        if item.is_none() {
            self.lacks([key], format!("{} needs {key:?}", self.kind), format!("such as {example}"));
        }
        item
    }

    /// Notes that one of `keys` should be there. That is an error when reading ends, but where a misspelt key says it.
    pub(in crate::config) fn lacks(
        &mut self,
        keys: impl Into<Vec<&'static str>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.lacks.push(MissingKey { keys: keys.into(), message: message.into(), help: help.into() });
    }

    /// The keys that are there, in any order.
    pub(in crate::config) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.entries.keys().map(|key| key.get_ref().as_ref())
    }

    /// Ends reading: every key that was not asked for is an error.
    pub(in crate::config) fn finish(self) {
        self.finish_with(|_| None);
    }

    /// As [`finish`](Self::finish); `hint` may know where a key belongs.
    pub(in crate::config) fn finish_with(self, hint: impl Fn(&str) -> Option<String>) {
        let mut meant = Vec::new();
        for item in entries(self.entries, self.scope) {
            if self.known.contains(&item.name) {
                continue;
            }
            let near = nearest(item.name, self.known.iter().copied());
            meant.extend(near);
            let help = hint(item.name).unwrap_or_else(|| match near {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("its keys are {}", list(&self.known, "and")),
            });
            let message = format!("unknown key {:?} in {}", shorten(item.name), self.kind);
            self.scope.error(item.key, message).help(help).report();
        }
        for lack in self.lacks {
            if !lack.keys.iter().any(|key| meant.contains(key)) {
                self.scope.error(self.span, lack.message).help(lack.help).cause(Cause::Missing).report();
            }
        }
    }
}

/// A table's pairs in the order in which they are written.
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

/// What was read of a key that may be left out; `None` if it is there and wrong.
#[expect(clippy::option_option, reason = "left out, wrong and read are three things")]
pub(in crate::config) fn given<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    read.map_or(Some(None), |read| read.map(Some))
}

/// What a value is, for people.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {:?}", shorten(text)),
        DeValue::Integer(number) => format!("the number {}", shorten(number.as_str())),
        DeValue::Float(number) => format!("the number {}", shorten(number.as_str())),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn one_of(words: &[&str]) -> String {
    list(words, "or")
}
