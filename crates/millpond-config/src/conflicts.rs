//! Finds settings that have no effect, or less than they say, because of other settings; each with
//! its source.
//!
//! `millpond-settings` knows the conflicts within one pool; this module adds those with `db.pool`,
//! `db.reset` and `db.behind`.

use millpond_settings::{Conflict, PoolKind, Pooler, ResetLevel};

use crate::Settings;
use crate::error::SettingProblem;
use crate::layers::{DEFAULT, Layers};
use crate::presets;
use crate::schema;

const NO_EFFECT: &str = "has no effect with";

/// Returns all conflicts; settings with conflicts still work.
pub(crate) fn all(settings: &Settings, layers: &Layers) -> Vec<SettingProblem> {
    let db = &settings.db;
    let found = match db.kind {
        Some(PoolKind::Null) => db.pool.null_conflicts(),
        _ => db.pool.conflicts(),
    };
    let pool_conflicts = found.iter().map(|conflict| {
        let Conflict { setting, relation, other, help, .. } = conflict;
        problem(&format!("db.{setting}"), relation, &format!("db.{other}"), help, settings, layers)
    });
    pool_conflicts.chain(db_conflicts(settings, layers)).collect()
}

fn db_conflicts(settings: &Settings, layers: &Layers) -> Vec<SettingProblem> {
    let db = &settings.db;
    let mut pairs = Vec::new();
    if db.kind == Some(PoolKind::ReadWrite) {
        let help = "the pool of readers has no overflow, and there is one writer; leave it out";
        let overflow = if db.pool.max_overflow == 0 { None } else { Some("max_overflow") };
        let names = overflow.into_iter().chain(["overflow_after", "overflow_linger"]);
        pairs.extend(names.map(|name| (name, "db.pool", help)));
    }
    if db.reset == ResetLevel::Replace {
        let help = "every connection is closed on return; leave it out, or choose another reset";
        pairs.push(("overflow_linger", "db.reset", help));
    }
    if db.behind == Pooler::PgBouncer && db.cancel_abandoned {
        let help = "nothing is cancelled behind a pooler; leave it out";
        pairs.push(("cancel_abandoned", "db.behind", help));
    }
    let written = pairs.into_iter().map(|(name, other, help)| (format!("db.{name}"), other, help));
    let written = written.filter(|(path, ..)| is_written(path, layers));
    written
        .map(|(path, other, help)| problem(&path, NO_EFFECT, other, help, settings, layers))
        .collect()
}

/// Returns true if this setting was set explicitly, so that its author relies on it.
fn is_written(path: &str, layers: &Layers) -> bool {
    let source = layers.source(path);
    source != DEFAULT && !presets::is_source(&source)
}

fn problem(
    path: &str,
    relation: &str,
    other: &str,
    help: &str,
    settings: &Settings,
    layers: &Layers,
) -> SettingProblem {
    let message = format!("{relation} {}", spelt(other, settings, layers));
    let value = schema::find(path).map(|setting| setting.shown(&mut settings.clone()));
    SettingProblem::new(path, &layers.source(path), message, help).of_value(value)
}

/// Returns a setting with its value and its source.
pub(crate) fn spelt(path: &str, settings: &Settings, layers: &Layers) -> String {
    let value = schema::find(path).map(|setting| setting.shown(&mut settings.clone()));
    format!("{path} = {} ({})", value.unwrap_or_default(), layers.source(path))
}
