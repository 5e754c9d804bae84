//! Queries to the catalog's worker.

use super::{respond::ErrorResponse, state::ApiState};
use crate::catalog::{Catalog, CatalogQuery, CatalogRequest};

/// Runs `read` in the catalog's worker, between two batches of updates, so a page never mixes two
/// states.
///
/// # Errors
/// When the server is stopping.
pub(super) async fn query_catalog<T: Send + 'static>(
    state: &ApiState,
    read: impl FnOnce(&Catalog) -> T + Send + 'static,
) -> Result<T, ErrorResponse> {
    let (query, answer) = CatalogQuery::new(read);
    state.catalog.send(CatalogRequest::Query(query)).await.map_err(|_| ErrorResponse::stopping())?;
    answer.await.map_err(|_| ErrorResponse::stopping())
}
