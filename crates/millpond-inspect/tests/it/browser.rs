//! The page in headless Chromium.

use axum::Router;
use millpond_core::QueuePool;
use millpond_inspect::{Inspect, Recorder};
use millpond_testkit::ScriptedManager;
use std::process::Stdio;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::process::Command;

/// Returns the page after its scripts have run; `None` without Chromium.
async fn dump(router: Router) -> Option<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/inspect", listener.local_addr().unwrap());
    let app = Router::new().nest("/inspect", router);
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let home = std::env::temp_dir().join(format!("millpond-inspect-{}", std::process::id()));
    let mut chromium = Command::new("chromium");
    chromium
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"])
        .arg(format!("--user-data-dir={}", home.display()))
        .args(["--dump-dom", &url])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = chromium.output().await;
    server.abort();
    let _ = std::fs::remove_dir_all(home);
    match output {
        Ok(output) if output.status.success() => {
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => {
            println!("SKIP the page in a browser: chromium does not run: {}", output.status);
            None
        }
        Err(error) => {
            println!("SKIP the page in a browser: no chromium: {error}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_pools_numbers_and_a_hostile_name_as_text() {
    let recorder = Recorder::new();
    let hostile = "<img src=x onerror=document.title='owned'>";
    let builder = QueuePool::builder(ScriptedManager::new()).name(hostile).pool_size(3);
    let pool = builder.max_overflow(4).observer(recorder.clone()).build().unwrap();
    let held = pool.acquire().await.unwrap();
    for _ in 0..1234 {
        drop(pool.acquire().await.unwrap());
    }
    let router = Inspect::new(recorder).pool(Arc::new(pool.clone())).router();
    let Some(page) = dump(router).await else { return };
    let status = pool.status();
    for (name, number) in [
        ("in_use", u64::from(status.in_use)),
        ("idle", u64::from(status.idle)),
        ("limit", u64::from(status.limit())),
        ("succeeded", status.totals.succeeded),
    ] {
        let shown = format!("<dd data-name=\"{name}\">{number}</dd>");
        assert!(page.contains(&shown), "no {shown} in {page}");
    }
    assert!(page.contains("&lt;img src=x onerror"), "{page}");
    assert!(!page.contains("<img") && page.contains("<title>millpond</title>"), "{page}");
    assert!(page.contains("browser.rs:"), "no holder in {page}");
    drop(held);
}
