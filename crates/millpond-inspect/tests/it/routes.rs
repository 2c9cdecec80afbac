//! The routes, called without a socket.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millpond_core::{Pool, QueuePool};
use millpond_inspect::{Inspect, Recorder, Snapshot};
use millpond_testkit::{Act, Call, ScriptedConnection, ScriptedManager};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt as _;

async fn get(router: &Router, path: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

async fn json(router: &Router, path: &str) -> Value {
    serde_json::from_str(&get(router, path).await.2).unwrap()
}

fn pool(manager: &ScriptedManager, name: &str, recorder: &Recorder) -> QueuePool<ScriptedManager> {
    let builder = QueuePool::builder(manager.clone()).name(name).observer(recorder.clone());
    builder.pool_size(2).max_overflow(1).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_json_has_the_pools_own_numbers_holders_and_events() {
    let (manager, recorder) = (ScriptedManager::new(), Recorder::new());
    let pool = pool(&manager, "orders", &recorder);
    let router: Router = Inspect::new(recorder).pool(Arc::new(pool.clone())).router();
    let held = pool.acquire().await.unwrap();
    drop(pool.acquire().await.unwrap());
    let shown = &json(&router, "/pools").await["pools"][0];
    let status = pool.status();
    assert_eq!(shown["name"], "orders");
    assert_eq!(shown["status"]["in_use"], status.in_use);
    assert_eq!(shown["status"]["idle"], status.idle);
    assert_eq!(shown["status"]["limit"], 3);
    assert_eq!(shown["status"]["totals"]["succeeded"], status.totals.succeeded);
    let location = shown["holders"][0]["location"].as_str().unwrap();
    assert!(location.contains("routes.rs:"), "{location}");
    let waits = shown["recorded"]["wait"].as_array().unwrap();
    assert_eq!(waits.iter().map(|count| count.as_u64().unwrap()).sum::<u64>(), 2);
    let events = shown["recorded"]["events"].as_array().unwrap();
    assert!(events.iter().any(|event| event["text"].as_str().unwrap().contains("Connected")));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_busy_pool_is_healthy_and_one_without_a_server_is_not() {
    let (manager, recorder) = (ScriptedManager::new(), Recorder::new());
    let busy = pool(&manager, "busy", &recorder);
    let leases = [busy.acquire().await, busy.acquire().await, busy.acquire().await];
    let one: Router = Inspect::new(recorder.clone()).pool(Arc::new(busy.clone())).router();
    let (status, _, body) = get(&one, "/health").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body.contains("\"busy\""), "{body}");
    let dead = ScriptedManager::new();
    dead.always(Call::Connect, Act::transient("no route"));
    let down = pool(&dead, "down", &recorder);
    drop(down.acquire_within(Duration::from_secs(2)).await.unwrap_err());
    let both = Inspect::new(recorder).pool(Arc::new(busy)).pool(Arc::new(down));
    let (status, _, body) = get(&both.router(), "/health").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert!(body.contains("\"down\""), "{body}");
    drop(leases);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_has_opened_no_connection_yet_is_healthy() {
    let recorder = Recorder::new();
    let pool = pool(&ScriptedManager::new(), "new", &recorder);
    let router: Router = Inspect::new(recorder).pool(Arc::new(pool)).router();
    let (status, _, body) = get(&router, "/health").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let health: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(health["pools"][0]["health"]["verdict"], "unverified", "{body}");
}

#[tokio::test(start_paused = true)]
async fn a_pool_behind_dyn_and_one_behind_a_closure_are_shown_until_they_are_gone() {
    let (manager, recorder) = (ScriptedManager::new(), Recorder::new());
    let shared: Arc<dyn Pool<Connection = ScriptedConnection>> =
        Arc::new(pool(&manager, "dyn", &recorder));
    let read = pool(&manager, "weak", &recorder);
    let weak = read.downgrade();
    let source = move || {
        let pool = weak.upgrade()?;
        let (health, status) = (pool.health(), pool.status());
        Some(Snapshot { health, status, holders: pool.holders() })
    };
    let router: Router = Inspect::new(recorder).pool(shared).source("weak", source).router();
    assert_eq!(json(&router, "/pools").await["pools"].as_array().unwrap().len(), 2);
    drop(read);
    assert_eq!(json(&router, "/pools").await["pools"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn metrics_are_the_exporters_text_and_missing_without_one() {
    let router: Router = Inspect::new(Recorder::new()).metrics(|| "pool_size 5\n".into()).router();
    let (status, headers, body) = get(&router, "/metrics").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "pool_size 5\n"));
    assert_eq!(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let without: Router = Inspect::new(Recorder::new()).router();
    assert_eq!(get(&without, "/metrics").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn every_answer_forbids_sniffing_framing_caching_and_foreign_scripts() {
    let router: Router = Inspect::new(Recorder::new()).router();
    for path in ["/", "/pools", "/health", "/metrics"] {
        let (_, headers, _) = get(&router, path).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        assert_eq!(headers["cache-control"], "no-store", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_policy_allows_the_pages_own_style_and_script() {
    let router: Router = Inspect::new(Recorder::new()).router();
    let (_, headers, page) = get(&router, "/").await;
    let policy = headers["content-security-policy"].to_str().unwrap();
    for (begin, end) in [("<style>", "</style>"), ("<script>", "</script>")] {
        let text = page.split_once(begin).unwrap().1.split_once(end).unwrap().0;
        let hash = format!("sha256-{}", STANDARD.encode(Sha256::digest(text)));
        assert!(policy.contains(&hash), "src/routes.rs needs {hash} for {begin}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_can_be_changed() {
    let router: Router = Inspect::new(Recorder::new()).router();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        for path in ["/", "/pools", "/health", "/metrics"] {
            let request = Request::builder().method(&method).uri(path).body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hostile_names_and_errors_are_text_in_json_and_errors_are_cut() {
    let (manager, recorder) = (ScriptedManager::new(), Recorder::new());
    let hostile = "</script><img src=x onerror=alert(1)>\u{0}\u{1b}[31m\"'\n";
    let pool = pool(&manager, hostile, &recorder);
    manager.always(Call::Connect, Act::transient(&"x".repeat(1_000_000)));
    drop(pool.acquire_within(Duration::from_secs(2)).await.unwrap_err());
    let router: Router = Inspect::new(recorder).pool(Arc::new(pool)).router();
    let (_, headers, body) = get(&router, "/pools").await;
    assert_eq!(headers["content-type"], "application/json");
    assert!(body.len() < 100_000, "{} bytes", body.len());
    assert!(body.contains("ConnectFailed: xxx"), "{body}");
    let value: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(value["pools"][0]["name"], hostile);
}
