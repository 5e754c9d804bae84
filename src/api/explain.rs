//! `GET /v1/explain`: how a name is answered, and why (docs/API.md).

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use axum::extract::State;
use hickory_proto::rr::RecordType;
use serde::Deserialize;

use super::{
    catalog::query_catalog,
    parameters::{Limit, PageParameters, Parameters, parsed, record_type},
    respond::{Json, Page},
    state::ApiState,
};
use crate::{
    catalog::ExplainQuery,
    dns::Rotation,
    model::{Explained, Name, NameKind},
};

/// The query to explain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainParameters {
    #[serde(deserialize_with = "parsed")]
    name: Name,
    #[serde(rename = "type", default = "default_type", deserialize_with = "record_type")]
    qtype: RecordType,
    #[serde(default = "default_client", deserialize_with = "parsed")]
    client: IpAddr,
    #[serde(default)]
    limit: Limit,
}

impl PageParameters for ExplainParameters {
    const USAGE: &'static str = "/v1/explain?name=web.shop&type=A&client=10.0.0.1&limit=1000";
}

const fn default_type() -> RecordType {
    RecordType::A
}

/// A client on this machine.
const fn default_client() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

pub(super) async fn explain(
    State(state): State<ApiState>,
    Parameters(ExplainParameters { name, qtype, client, limit }): Parameters<ExplainParameters>,
) -> Page<Explained> {
    let query = ExplainQuery {
        name: name.clone(),
        qtype,
        client,
        limit: limit.get(),
        stale: state.board.stale_members(),
    };
    let responder = Arc::clone(&state.responder);
    // The answer is made while the catalog stands still, so that both describe one state.
    let mut explained = query_catalog(&state, move |catalog| {
        let mut explained = catalog.explain(&query);
        let question = (&query.name, query.qtype);
        explained.answer = Some(responder.explain(question, query.client, &mut Rotation::default()));
        explained
    })
    .await?;
    // Compares every name, so the catalog must not wait for it.
    if matches!(explained.kind, NameKind::NxDomain | NameKind::External) && explained.service.is_none() {
        explained.note += &state.cell.load().suggest(&name);
    }
    Ok(Json(explained))
}
