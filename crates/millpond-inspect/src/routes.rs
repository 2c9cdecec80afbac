//! The routes and their headers.

use crate::json;
use crate::pools::Pools;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

/// The page. It writes everything that it shows as text, never as HTML.
const PAGE: &str = include_str!("page.html");

/// Only the page's own style and script, by their hashes, and requests to where it comes from.
const PAGE_POLICY: &str = concat!(
    "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; ",
    "frame-ancestors 'none'; style-src 'sha256-UqydosfX9MCoPpnm20Z7vv2aL+QzlaUzMjVtCJgjf9Y='; ",
    "script-src 'sha256-2lhUYDe5dBvuLuKE1vYlfRr6gCSumxYxBWstf5xiMek='"
);

/// Nothing may be loaded or run.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

pub(crate) fn router<S: Clone + Send + Sync + 'static>(inspect: Arc<Pools>) -> Router<S> {
    let (pools, health, metrics) = (Arc::clone(&inspect), Arc::clone(&inspect), inspect);
    Router::new()
        .route(
            "/",
            get(async || answer(StatusCode::OK, "text/html; charset=utf-8", PAGE_POLICY, PAGE)),
        )
        .route("/pools", get(async move || json(StatusCode::OK, &json::pools(&pools))))
        .route("/health", get(async move || health_answer(&health)))
        .route("/metrics", get(async move || metrics_answer(&metrics)))
}

fn health_answer(inspect: &Pools) -> Response {
    let (health, is_serving) = json::health(inspect);
    json(if is_serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &health)
}

fn metrics_answer(inspect: &Pools) -> Response {
    match &inspect.metrics {
        Some(render) => answer(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            DATA_POLICY,
            render(),
        ),
        None => {
            let message = "no metrics: give `Inspect::metrics` the text of an exporter\n";
            answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", DATA_POLICY, message)
        }
    }
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    answer(status, "application/json", DATA_POLICY, value.to_string())
}

fn answer(
    status: StatusCode,
    kind: &'static str,
    policy: &'static str,
    body: impl IntoResponse,
) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body).into_response()
}
