//! What the readers of a zone file's tables share: the namespace they are in, and the names that
//! can only be resolved once all files are read.

use std::{cell::RefCell, sync::Arc};

use super::sources::DeclaredSources;
use crate::{
    config::{
        schema::AnswerSettings,
        toml::{DiagnosticSink, Draft, Item, Scope, Span, TextFile, values::PathBase},
    },
    model::Name,
};

/// What the tables of one zone file are read with.
pub(super) struct NamespaceContext<'z> {
    /// The namespace's apex; the root if it could not be read.
    pub(super) apex: &'z Name,
    /// The namespace's own answer settings, which are its services' defaults.
    pub(super) defaults: &'z AnswerSettings,
    /// The sources in `muster.toml`.
    pub(super) sources: &'z DeclaredSources,
    /// The folder of `muster.toml`, where relative paths begin.
    pub(super) base: &'z PathBase,
    /// The names so far that may be defined in another file, or further down.
    pub(super) references: &'z RefCell<Vec<Reference>>,
}

impl NamespaceContext<'_> {
    /// Records the name that is the value of `item`, to be resolved later.
    pub(super) fn refer_by_value(&self, item: Item<'_>, kind: ReferenceKind) {
        debug_assert!(item.value.as_str().is_some(), "the value was read as a name");
        self.refer(item, item.span, item.value.as_str().unwrap_or_default(), kind);
    }

    /// Records the name that is the key of `item`, to be resolved later.
    pub(super) fn refer_by_key(&self, item: Item<'_>, kind: ReferenceKind) {
        self.refer(item, item.key, item.name, kind);
    }

    fn refer(&self, item: Item<'_>, span: Span, text: &str, kind: ReferenceKind) {
        let file = Arc::clone(item.scope.file);
        self.references.borrow_mut().push(Reference { text: text.to_owned(), file, span, kind });
    }
}

/// A name in a zone file, with its place.
pub(in crate::config) struct Reference {
    /// The name as the file has it.
    pub(super) text: String,
    pub(super) file: Arc<TextFile>,
    pub(super) span: Span,
    pub(super) kind: ReferenceKind,
}

/// What a name is used for.
pub(super) enum ReferenceKind {
    /// The service of a route's clients, which must have instances of its own.
    Client(Name),
    /// The target of this service, which is an alias.
    Alias(Name),
    /// A subset name, which must not be in use.
    Subset(Name),
}

impl Reference {
    /// Drafts an error at the name.
    pub(super) fn error<'a>(&'a self, sink: &'a DiagnosticSink, message: impl Into<String>) -> Draft<'a> {
        Scope { file: &self.file, sink }.error(self.span, message)
    }
}

/// Whether `text` is a name below the apex of its file: one label, or a service such as
/// `_ldap._tcp`.
pub(super) fn is_relative(text: &str) -> bool {
    let is_srv_name = |(service, proto): (&str, &str)| {
        service.starts_with('_') && proto.starts_with('_') && !proto.contains('.')
    };
    text.split_once('.').is_none_or(is_srv_name)
}
