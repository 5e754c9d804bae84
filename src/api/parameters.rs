//! Query parameters: read into a type, refused with the page's usage.

use std::{error::Error as _, fmt::Display, str::FromStr};

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use hickory_proto::rr::RecordType;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};

use super::respond::ErrorResponse;

/// The parameters of a page. Unknown, duplicate, missing and wrong ones are errors: a typing error
/// in `?clinet=` would else be answered for another client.
pub(super) trait PageParameters: DeserializeOwned {
    /// A valid request, to show next to an error.
    const USAGE: &'static str;
}

/// Extracts the parameters of a request.
#[derive(Debug)]
pub(super) struct Parameters<P>(pub(super) P);

impl<P: PageParameters, S: Send + Sync> FromRequestParts<S> for Parameters<P> {
    type Rejection = ErrorResponse;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ErrorResponse> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => {
                // The rejection itself only says that the query string is wrong.
                let cause = rejection.source().map(ToString::to_string);
                Err(ErrorResponse::bad_request(cause.unwrap_or_else(|| rejection.to_string()), P::USAGE))
            }
        }
    }
}

/// How many entries a page has at most: 1 to [`MAX`](Self::MAX).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "usize")]
pub(super) struct Limit(usize);

impl Limit {
    /// Bounds how long the catalog works for one page.
    const MAX: usize = 10_000;

    pub(super) const fn get(self) -> usize {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(1000)
    }
}

impl TryFrom<usize> for Limit {
    type Error = String;

    fn try_from(limit: usize) -> Result<Self, String> {
        let is_valid = (1..=Self::MAX).contains(&limit);
        is_valid.then_some(Self(limit)).ok_or_else(|| format!("must be a number from 1 to {}", Self::MAX))
    }
}

/// Parses a value by its `FromStr`.
pub(super) fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(value: D) -> Result<T, D::Error> {
    let text = String::deserialize(value)?;
    text.parse().map_err(|error| D::Error::custom(format_args!("{text:?}: {error}")))
}

/// As [`parsed`], for a parameter that may be left out.
pub(super) fn parsed_option<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    parsed(value).map(Some)
}

/// Parses a record type by its mnemonic or as `TYPE65` (RFC 3597 section 5).
pub(super) fn record_type<'de, D: Deserializer<'de>>(value: D) -> Result<RecordType, D::Error> {
    let text = String::deserialize(value)?;
    let upper = text.to_ascii_uppercase();
    let by_number = || upper.strip_prefix("TYPE")?.parse::<u16>().ok().map(RecordType::from);
    let known = RecordType::from_str(&upper).ok().or_else(by_number);
    known.ok_or_else(|| {
        D::Error::custom(format_args!("{text:?} is not a record type; write it as A, AAAA, SRV or TYPE65"))
    })
}
