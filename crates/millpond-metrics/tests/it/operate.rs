//! The alert rules and the dashboard of `docs/operate` use metrics that exist.

use crate::world::{ms, pool};
use metrics::with_local_recorder;
use metrics_exporter_prometheus::PrometheusBuilder;
use millpond_core::{HookPoint, Invalidate};
use millpond_metrics::BUCKETS;
use millpond_testkit::{Act, ByHand, Call, ScriptedManager};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory of the rules, the dashboard and their pages.
fn operate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate")
}

fn page(name: &str) -> String {
    fs::read_to_string(operate().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the names of metrics and labels in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = text.split(|c: char| !is_name(c)).filter(|name| {
        ["db_client_", "millpond_", "pool_"].iter().any(|prefix| name.starts_with(prefix))
    });
    names.map(str::to_owned).collect()
}

/// Returns the names in Prometheus' text after everything has happened that a pool reports.
async fn rendered() -> BTreeSet<String> {
    let recorder = PrometheusBuilder::new().set_buckets(&BUCKETS).unwrap().build_recorder();
    let manager = ScriptedManager::new();
    let (pool, metrics) = pool(&manager, |builder| {
        builder
            .pool_size(1)
            .max_overflow(0)
            .leak_after(ms(10))
            .fail_fast_after(ms(500))
            .pre_ping_idle(ms(0))
            .hooks(manager.hooks())
    });
    let lease = pool.acquire().await.unwrap();
    tokio::time::sleep(ms(1500)).await;
    drop(pool.acquire_within(ms(5)).await.unwrap_err());
    let mut dropped = ByHand::new(Box::pin(pool.acquire()));
    assert!(dropped.poll().is_pending());
    drop((dropped, lease));
    manager.next(Call::Hook(HookPoint::Checkout), [Act::broken("refused")]);
    drop(pool.acquire().await);
    manager.always(Call::Connect, Act::transient("no"));
    pool.invalidate_all(Invalidate::Hard);
    drop(pool.acquire_within(ms(2000)).await.unwrap_err());
    with_local_recorder(&recorder, || metrics.report());
    names(&recorder.handle().render())
}

/// Collects the expressions of a dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str() {
                    Some(text) if name == "expr" || name == "query" => found.push(text.to_owned()),
                    _ => expressions(field, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[tokio::test(start_paused = true)]
async fn every_metric_of_the_dashboard_and_the_alerts_exists() {
    let rendered = rendered().await;
    let dashboard: Value = serde_json::from_str(&page("dashboard.json")).unwrap();
    let mut used = Vec::new();
    expressions(&dashboard, &mut used);
    assert!(used.len() > 20, "{used:?}");
    let rules = page("alerts.yaml");
    let rules = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    used.extend(rules.map(str::to_owned));
    for expression in used {
        let unknown: Vec<_> = names(&expression).difference(&rendered).cloned().collect();
        assert!(unknown.is_empty(), "{unknown:?} of `{expression}` is not among {rendered:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_metric_that_a_page_names_exists() {
    let rendered = rendered().await;
    for entry in fs::read_dir(operate()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let metrics = names(&text).into_iter().filter(|name| {
            name.starts_with("db_client_")
                || name.starts_with("millpond_") && name != "millpond_metrics"
        });
        for name in metrics {
            assert!(rendered.contains(&name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn every_alert_has_its_page() {
    let rules = page("alerts.yaml");
    let pages: Vec<_> =
        rules.lines().filter_map(|it| it.trim().strip_prefix("runbook_url: ")).collect();
    assert_eq!(pages.len(), rules.matches("- alert:").count());
    for page in pages {
        let name = page.strip_prefix("docs/operate/").unwrap_or_else(|| panic!("{page}"));
        assert!(operate().join(name).is_file(), "{page}");
    }
}

#[test]
fn the_alerts_fire_when_they_should_and_not_otherwise() {
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]] {
        let mut promtool = Command::new("promtool");
        let output = match promtool.args(arguments).current_dir(operate()).output() {
            Ok(output) => output,
            Err(error) => {
                println!("SKIP the rules of Prometheus: no promtool (package prometheus): {error}");
                return;
            }
        };
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    }
}
