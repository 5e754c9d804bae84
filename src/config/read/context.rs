//! What the tables of a zone file are read with.

use std::{cell::RefCell, sync::Arc};

use super::sources::DeclaredSources;
use crate::{
    config::{
        schema::AnswerSettings,
        toml::{DiagnosticSink, Draft, Item, Scope, SourceFile, Span},
    },
    model::Name,
};

/// What a zone's tables are read with.
pub(super) struct NamespaceContext<'z> {
    /// The zone's name; the root where it could not be read.
    pub(super) apex: &'z Name,
    /// What the answers of its services look like where they say nothing.
    pub(super) defaults: &'z AnswerSettings,
    /// The sources that there are.
    pub(super) sources: &'z DeclaredSources,
    /// What it names that may stand in another file, or further below.
    pub(super) references: &'z RefCell<Vec<Reference>>,
}

/// A name that a zone file gives, with its place.
pub(in crate::config) struct Reference {
    /// As it is written.
    pub(super) text: String,
    pub(super) file: Arc<SourceFile>,
    pub(super) span: Span,
    pub(super) kind: ReferenceKind,
}

pub(super) enum ReferenceKind {
    /// The service of a route's clients, which must be one that has instances.
    Client(Name),
    /// What this service is an alias of.
    Alias(Name),
    /// A further name, which must not be anything else.
    Further(Name),
}

impl Reference {
    pub(super) fn error<'a>(&'a self, log: &'a DiagnosticSink, message: impl Into<String>) -> Draft<'a> {
        Scope { file: &self.file, log }.error(self.span, message)
    }
}

pub(super) fn note(
    item: Item<'_>,
    span: Span,
    text: &str,
    kind: ReferenceKind,
    context: &NamespaceContext<'_>,
) {
    let file = Arc::clone(item.scope.file);
    context.references.borrow_mut().push(Reference { text: text.to_owned(), file, span, kind });
}

/// Tells whether `text` is a name below the apex of its file: one label, or a service of the shape `_service._proto`.
pub(super) fn is_relative(text: &str) -> bool {
    let is_srv_shaped = |(service, proto): (&str, &str)| {
        service.starts_with('_') && proto.starts_with('_') && !proto.contains('.')
    };
    text.split_once('.').is_none_or(is_srv_shaped)
}
