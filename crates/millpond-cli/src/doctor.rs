//! `millpond doctor`: connects to every server that the settings name, measures what a connection
//! costs, and reports what does not fit together.

mod answers;
mod judge;
mod measured;
mod memory;
mod mysql;
mod postgres;
mod redis;
mod sql;
mod sqlite;
mod tcp;
mod tls;

use crate::arguments::DoctorArguments;
use crate::findings;
use crate::load::{self, Loaded};
use crate::terminal::{Screen, Tone};
use measured::{DATABASE, Measured};
use millpond::advice::{self, Database, Finding, Severity};
use millpond::settings::RedisSettings;
use millpond::{Loader, Settings};
use serde_json::{Value, json};
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

/// How long one server may take in all. A server that stops answering would take forever.
const SERVER_MAX: Duration = Duration::from_secs(60);

/// What was found out about the settings and their servers.
struct Diagnosis {
    settings: Settings,
    servers: Vec<Measured>,
    findings: Vec<Finding>,
}

/// Prints what was measured and found; returns false if something cannot work.
///
/// # Errors
///
/// Invalid settings are an error. A server that cannot be reached is a finding.
pub fn run(arguments: &DoctorArguments) -> Result<bool, Box<dyn Error>> {
    let loader = arguments.source.loader();
    let loaded = load::load(loader.clone())?;
    let runtime = tokio::runtime::Runtime::new()?;
    let diagnosis = runtime.block_on(diagnose_all(loader, loaded, arguments.replicas));
    runtime.shutdown_background();
    match arguments.json {
        true => diagnosis.print_json()?,
        false => diagnosis.print()?,
    }
    Ok(!findings::has_errors(&diagnosis.findings))
}

async fn diagnose_all(loader: Loader, loaded: Loaded, replicas: u32) -> Diagnosis {
    let Loaded { settings, database } = loaded;
    let mut findings = of_settings(&settings, database);
    let mut servers = Vec::new();
    let mut add =
        |setting: &'static str, outcome: Result<(Measured, Vec<Finding>), String>| match outcome {
            Ok((measured, found)) => {
                servers.push(measured);
                findings.extend(found);
            }
            Err(why) => findings.push(unusable(setting, why)),
        };
    if let Some(database) = database {
        let outcome = match database {
            Database::SqliteFile => in_time(sqlite::diagnose(&settings)).await,
            _ => in_time(sql::diagnose(loader, &settings, replicas)).await,
        };
        add(DATABASE, outcome);
    }
    let sections: [(_, &RedisSettings); 2] =
        [("redis", &settings.redis), ("cache", &settings.cache)];
    for (section, redis) in sections.into_iter().filter(|(_, section)| section.url.is_some()) {
        let setting = if section == "redis" { "redis.url" } else { "cache.url" };
        add(setting, in_time(redis::diagnose(section, redis, replicas)).await);
    }
    if servers.is_empty() && findings.is_empty() {
        let help = "name one with storage.connection_string, redis.url or cache.url";
        findings.push(Finding::new(Severity::Note, "settings", "they name no server", help));
    }
    Diagnosis { settings, servers, findings }
}

/// Returns what a server's diagnosis returns, or an error after [`SERVER_MAX`].
async fn in_time<T>(diagnosis: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| format!("accepted a connection, and did not answer all within {SERVER_MAX:?}");
    tokio::time::timeout(SERVER_MAX, diagnosis).await.map_err(late)?
}

/// Returns the finding of a server that cannot be used.
fn unusable(setting: &'static str, why: String) -> Finding {
    // The message of the pool says how to set it.
    let is_pooled = why.contains("behind = \"pgbouncer\"");
    let about = if is_pooled { "db.behind" } else { setting };
    Finding::new(Severity::Error, about, why, "")
}

/// Returns what can be said of the settings alone. The limit of a server is asked for later.
fn of_settings(settings: &Settings, database: Option<Database>) -> Vec<Finding> {
    let db = &settings.db;
    let conflicts = settings.explain().warnings.iter().map(|conflict| {
        let (setting, message) = (conflict.setting.as_str(), conflict.message.as_str());
        Finding::new(Severity::Warning, setting, message, conflict.help.as_str())
    });
    let risks = database.map(|database| advice::risks(&db.pool, db.kind, db.reset, database));
    let risks = risks.into_iter().flatten().filter(|finding| finding.about != "db.pool_size");
    conflicts.chain(risks).collect()
}

impl Diagnosis {
    fn print(&self) -> io::Result<()> {
        let mut screen = Screen::for_people();
        for server in &self.servers {
            screen.line(Tone::Heading, &format!("{}: {}", server.setting, server.server))?;
            screen.line(Tone::Plain, &format!("{}\n", server.table()))?;
        }
        findings::print(&mut screen, &self.findings, self.settings.explain(), true)?;
        let (tone, conclusion) = self.conclusion();
        screen.line(tone, &format!("\n{conclusion}"))
    }

    fn conclusion(&self) -> (Tone, String) {
        let warnings = findings::warnings(&self.findings, 0);
        match (findings::has_errors(&self.findings), warnings) {
            (true, _) => (Tone::Bad, "Something cannot work: see the errors.".to_owned()),
            (false, Some(warnings)) => (Tone::Plain, format!("No errors, {warnings}.")),
            (false, None) => (Tone::Good, "Nothing is wrong.".to_owned()),
        }
    }

    fn print_json(&self) -> io::Result<()> {
        let servers: Value = self.servers.iter().map(Measured::to_json).collect();
        let output = json!({
            "good": !findings::has_errors(&self.findings),
            "servers": servers,
            "findings": findings::to_json(&self.findings),
        });
        writeln!(io::stdout(), "{output}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stops_answering_is_given_up() {
        let silent = std::future::pending::<Result<(), String>>();
        assert!(in_time(silent).await.unwrap_err().contains("did not answer"));
        assert_eq!(in_time(async { Ok(1) }).await, Ok(1));
    }
}
