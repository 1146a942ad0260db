//! Health and metrics, over HTTP on an address that is not meant for the public.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::connection::Shared;

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until stopped.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener, stop: CancellationToken) {
    let router = Router::new()
        .route("/healthz", get(|| std::future::ready("ok\n")))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shared);
    let serving = axum::serve(listener, router);
    let ended = stop.run_until_cancelled(serving.into_future()).await;
    if let Some(Err(error)) = ended {
        tracing::error!(%error, "health and metrics are no longer served");
    }
}

/// Whether an append would be taken now.
async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    let not_ready = |reason: String| (StatusCode::SERVICE_UNAVAILABLE, reason);
    if shared.draining.is_cancelled() {
        return not_ready("shutting down\n".to_owned());
    }
    let storage = Arc::clone(&shared.storage);
    match tokio::task::spawn_blocking(move || storage.probe()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n".to_owned()),
        Ok(Err(error)) => not_ready(format!("{error}\n")),
        Err(error) => not_ready(format!("the store cannot be asked: {error}\n")),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, METRICS_TYPE)],
        shared.metrics.render(),
    )
}
