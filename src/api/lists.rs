//! `GET /v1/services`, `/v1/instances` and `/v1/sources`: lists, a page at a time (docs/API.md).

use axum::extract::State;
use serde::Deserialize;

use super::{
    catalog::query_catalog,
    parameters::{Limit, PageParameters, Parameters, parsed, parsed_option},
    respond::{ErrorResponse, Json, Page},
    state::ApiState,
};
use crate::model::{InstancePage, ListedSource, Name, ServicePage, SourceList};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServicesParameters {
    #[serde(default, deserialize_with = "parsed_option")]
    after: Option<Name>,
    #[serde(default)]
    limit: Limit,
}

impl PageParameters for ServicesParameters {
    const USAGE: &'static str = "/v1/services?after=web.shop&limit=1000";
}

pub(super) async fn services(
    State(state): State<ApiState>,
    Parameters(ServicesParameters { after, limit }): Parameters<ServicesParameters>,
) -> Page<ServicePage> {
    let names = state.cell.load().names_after(after.as_ref(), limit.get());
    let stale = state.board.stale_members();
    query_catalog(&state, move |catalog| catalog.list_services(&names, &stale)).await.map(Json)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstancesParameters {
    #[serde(deserialize_with = "parsed")]
    service: Name,
    after: Option<String>,
    #[serde(default)]
    limit: Limit,
}

impl PageParameters for InstancesParameters {
    const USAGE: &'static str = "/v1/instances?service=web.shop&after=web-1&limit=1000";
}

pub(super) async fn instances(
    State(state): State<ApiState>,
    Parameters(InstancesParameters { service, after, limit }): Parameters<InstancesParameters>,
) -> Page<InstancePage> {
    let name = service.clone();
    let stale = state.board.stale_members();
    let page = query_catalog(&state, move |catalog| {
        catalog.list_instances(&name, after.as_deref(), limit.get(), &stale)
    });
    page.await?.map(Json).ok_or_else(|| {
        let meant = state.cell.load().suggest(&service);
        let message =
            format!("there is no service {service}{meant} (`muster services` or /v1/services lists them)");
        ErrorResponse::not_found(message)
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourcesParameters {}

impl PageParameters for SourcesParameters {
    const USAGE: &'static str = "/v1/sources";
}

pub(super) async fn sources(
    State(state): State<ApiState>,
    _: Parameters<SourcesParameters>,
) -> Json<SourceList> {
    Json(SourceList { sources: state.board.reports().iter().map(ListedSource::new).collect() })
}
