//! `GET /v1/explain`, `/v1/services`, `/v1/instances` and `/v1/sources`: what is known and why, as JSON (docs/API.md).
//!
//! What needs the catalog is asked of its worker, between two batches of updates, so that a page never mixes two states.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    sync::Arc,
};

use axum::{
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use hickory_proto::rr::RecordType;
use serde::Serialize;

use super::{broken, state::ApiState};
use crate::{
    catalog::{Asked, Catalog, CatalogQuery, CatalogRequest},
    dns::Rotation,
    model::{ApiError, ListedSource, Name, NameKind, SourceList},
};

/// Entries of one page where nothing is said, and at most.
const LIMIT: usize = 1000;
const MAX_LIMIT: usize = 10_000;

/// Who asks where nothing is said: somebody on this machine.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A page, or why there is none.
type Page<T> = Result<T, Refusal>;

/// A status with what to do about it.
pub(super) struct Refusal(StatusCode, String);

impl Refusal {
    fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }
}

/// Explains a name.
pub(super) async fn explain(State(state): State<ApiState>, uri: Uri) -> Response {
    respond("/v1/explain", explain_page(state, &uri).await)
}

async fn explain_page(state: ApiState, uri: &Uri) -> Page<impl Serialize> {
    let mut given = Parameters::read(uri, &["name", "type", "client", "limit"])?;
    let name = given.name("name")?.ok_or_else(|| Refusal::bad("\"name\" is missing: ?name=web.shop"))?;
    let qtype = given.take("type").map_or(Ok(RecordType::A), |text| record_type(&text))?;
    let client = given.take("client").map_or(Ok(CLIENT), |text| client(&text))?;
    let asked = Asked { name, qtype, client, limit: given.limit()? };
    let responder = Arc::clone(&state.responder);
    let name = asked.name.clone();
    let mut explained = read(&state, move |catalog| {
        let mut explained = catalog.explain(&asked);
        let question = (&asked.name, asked.qtype);
        explained.answer = Some(responder.explain(question, asked.client, &mut Rotation::default()));
        explained
    })
    .await?;
    // Every name is looked at, which is not for the catalog to wait for.
    if matches!(explained.kind, NameKind::NxDomain | NameKind::External) && explained.service.is_none() {
        explained.note += &state.cell.load().suggest(&name);
    }
    Ok(explained)
}

/// Lists services, a page of them.
pub(super) async fn services(State(state): State<ApiState>, uri: Uri) -> Response {
    respond("/v1/services", services_page(state, &uri).await)
}

async fn services_page(state: ApiState, uri: &Uri) -> Page<impl Serialize> {
    let mut given = Parameters::read(uri, &["after", "limit"])?;
    let after = given.name("after")?;
    let names = state.cell.load().names_after(after.as_ref(), given.limit()?);
    read(&state, move |catalog| catalog.list_services(&names)).await
}

/// Lists the instances of one service, a page of them.
pub(super) async fn instances(State(state): State<ApiState>, uri: Uri) -> Response {
    respond("/v1/instances", instances_page(state, &uri).await)
}

async fn instances_page(state: ApiState, uri: &Uri) -> Page<impl Serialize> {
    let mut given = Parameters::read(uri, &["service", "after", "limit"])?;
    let missing = || Refusal::bad("\"service\" is missing: ?service=web.shop; /v1/services lists them");
    let service = given.name("service")?.ok_or_else(missing)?;
    let (after, limit) = (given.take("after"), given.limit()?);
    let name = service.clone();
    let page = read(&state, move |catalog| catalog.list_instances(&name, after.as_deref(), limit)).await?;
    page.ok_or_else(|| {
        let meant = state.cell.load().suggest(&service);
        let message =
            format!("there is no service {service}{meant} (`muster services` or /v1/services lists them)");
        Refusal(StatusCode::NOT_FOUND, message)
    })
}

/// Lists the sources.
pub(super) async fn sources(State(state): State<ApiState>, uri: Uri) -> Response {
    let list = || SourceList { sources: state.board.reports().iter().map(ListedSource::of).collect() };
    respond("/v1/sources", Parameters::read(&uri, &[]).map(|_| list()))
}

/// Lets the catalog's worker read something.
async fn read<T: Send + 'static>(
    state: &ApiState,
    read: impl FnOnce(&Catalog) -> T + Send + 'static,
) -> Page<T> {
    let stopping = || Refusal(StatusCode::SERVICE_UNAVAILABLE, "muster is stopping".to_owned());
    let (reading, answer) = CatalogQuery::new(read);
    state.catalog.send(CatalogRequest::Query(reading)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())
}

fn respond(path: &'static str, page: Page<impl Serialize>) -> Response {
    let (status, json) = match page {
        Ok(page) => (StatusCode::OK, serde_json::to_string(&page)),
        Err(Refusal(status, error)) => (status, serde_json::to_string(&ApiError { error })),
    };
    match json {
        Ok(json) => (status, [(header::CONTENT_TYPE, "application/json")], json + "\n").into_response(),
        Err(failure) => broken(path, &failure),
    }
}

/// What is given behind the question mark, each once.
struct Parameters(BTreeMap<String, String>);

impl Parameters {
    fn read(uri: &Uri, known: &[&str]) -> Page<Self> {
        let mut given = BTreeMap::new();
        for (key, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            if !known.contains(&&*key) {
                let known = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
                return Err(Refusal::bad(format!("unknown parameter {key:?}; known: {known}")));
            }
            if given.insert(key.to_string(), value.into_owned()).is_some() {
                return Err(Refusal::bad(format!("{key:?} is given twice")));
            }
        }
        Ok(Self(given))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    fn name(&mut self, key: &str) -> Page<Option<Name>> {
        let bad = |text: &str, error| Refusal::bad(format!("{key:?}: {text:?} is no name: {error}"));
        self.take(key)
            .map(|text| text.parse().map_err(|error: crate::model::NameError| bad(&text, error)))
            .transpose()
    }

    fn limit(&mut self) -> Page<usize> {
        let Some(text) = self.take("limit") else { return Ok(LIMIT) };
        let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.ok_or_else(|| Refusal::bad(format!("\"limit\": {text:?} is no number from 1 to {MAX_LIMIT}")))
    }
}

fn record_type(text: &str) -> Page<RecordType> {
    let upper = text.to_ascii_uppercase();
    let by_number = || upper.strip_prefix("TYPE")?.parse::<u16>().ok().map(RecordType::from);
    let known = RecordType::from_str(&upper).ok().or_else(by_number);
    known.ok_or_else(|| {
        Refusal::bad(format!("\"type\": {text:?} is no type of records; write it as A, AAAA, SRV or TYPE65"))
    })
}

fn client(text: &str) -> Page<IpAddr> {
    text.parse().map_err(|_| {
        Refusal::bad(format!("\"client\": {text:?} is no IP address; write it as 10.0.0.1 or fd00::1"))
    })
}
