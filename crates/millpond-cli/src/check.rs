//! `millpond check`: loads the settings as a service would, and explains them, or reports all that
//! is wrong with them. Settings that are risky are findings.

use crate::arguments::{CheckArguments, DeploymentArguments};
use crate::findings;
use crate::load::{self, Loaded};
use crate::reach::{self, Reached};
use crate::terminal::{Screen, Tone};
use millpond::Settings;
use millpond::advice::{self, Deployment, Finding, ServerLimit, Severity};
use millpond::settings::Change;
use serde_json::json;
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

/// What was checked.
struct Checked {
    settings: Settings,
    findings: Vec<Finding>,
    /// What an edit has changed, if there is an older file to compare with.
    changes: Option<Changes>,
    reached: Option<Vec<Reached>>,
}

/// What differs from an older file.
struct Changes {
    /// What has another value now.
    effective: Vec<Change>,
    /// What the file says differently, although a variable overrides it.
    overridden: Vec<Change>,
}

/// Explains valid settings; returns false if something was found that cannot work.
///
/// # Errors
///
/// Invalid settings are an error, and so is a server that cannot be reached.
pub fn run(arguments: &CheckArguments) -> Result<bool, Box<dyn Error>> {
    let loader = arguments.settings.loader();
    let loaded = load::load(loader.clone())?;
    let findings = findings(&loaded, &arguments.deployment);
    let settings = loaded.settings;
    let changes = match &arguments.diff {
        Some(old) => Some(changes(arguments, old, &settings)?),
        None => None,
    };
    let reached = if arguments.connect { Some(reach::servers(&loader, &settings)?) } else { None };
    let checked = Checked { settings, findings, changes, reached };
    match arguments.json {
        true => checked.print_json()?,
        false => checked.print()?,
    }
    Ok(!findings::has_errors(&checked.findings))
}

/// Returns what is risky about the settings of one process, and the arithmetic of its replicas if
/// their number or the server's limit is known.
fn findings(loaded: &Loaded, deployment: &DeploymentArguments) -> Vec<Finding> {
    let (db, replicas) = (&loaded.settings.db, deployment.replicas.unwrap_or(1));
    let mut findings = Vec::new();
    if let Some(database) = loaded.database {
        findings = advice::risks(&db.pool, db.kind, db.reset, database);
    }
    let is_counted = deployment.replicas.is_some() || deployment.max_connections.is_some();
    let limit = deployment.limit().or_else(|| loaded.database?.default_limit());
    let deployed = Deployment::of_pool(&db.pool, replicas);
    match limit.filter(|_| is_counted) {
        Some(limit) => {
            // The risk of one process on a server with defaults is part of this.
            findings.retain(|finding| finding.about != deployed.about);
            findings.push(deployed.compare(&limit));
        }
        None if is_counted && loaded.database.is_none() => {
            let help = "compare with a server's limit by --max-connections";
            findings.push(Finding::new(Severity::Note, deployed.about, deployed.to_string(), help));
        }
        None => {}
    }
    if deployment.replicas.is_some() {
        findings.extend(of_redis(&loaded.settings, replicas));
    }
    findings
}

fn of_redis(settings: &Settings, replicas: u32) -> Vec<Finding> {
    let sections =
        [("redis.max_connections", &settings.redis), ("cache.max_connections", &settings.cache)];
    let named = sections.into_iter().filter(|(_, section)| section.url.is_some());
    let limit = ServerLimit::new("maxclients", 10_000).assumed();
    named
        .map(|(setting, section)| {
            Deployment::of_redis(setting, section.max_connections, replicas).compare(&limit)
        })
        .collect()
}

impl DeploymentArguments {
    /// Returns the limit of the database server, if it was given.
    pub fn limit(&self) -> Option<ServerLimit> {
        let limit = ServerLimit::new("max_connections", self.max_connections?);
        Some(limit.reserved(self.reserved))
    }
}

/// Compares with the settings that the older file would give, with the same variables.
fn changes(
    arguments: &CheckArguments,
    old: &Path,
    settings: &Settings,
) -> Result<Changes, Box<dyn Error>> {
    let loader = arguments.settings.loader();
    let older = loader.clone().file(old);
    let effective = settings.changes_since(&older.clone().load()?);
    // A file that is only valid with the variables has nothing to compare by itself.
    let overridden = match (older.no_environment().load(), loader.no_environment().load()) {
        (Ok(older), Ok(newer)) => newer.changes_since(&older),
        _ => Vec::new(),
    };
    let is_effective =
        |change: &Change| effective.iter().any(|it| it.new.setting == change.new.setting);
    let overridden = overridden.into_iter().filter(|change| !is_effective(change)).collect();
    Ok(Changes { effective, overridden })
}

impl Checked {
    fn print(&self) -> io::Result<()> {
        let mut screen = Screen::for_people();
        let explanation = self.settings.explain();
        match &self.changes {
            Some(changes) => changes.print(&mut screen, &self.settings)?,
            None => screen.line(Tone::Plain, &explanation.to_string())?,
        }
        findings::print(&mut screen, &self.findings, explanation, true)?;
        for server in self.reached.iter().flatten() {
            screen.line(Tone::Plain, &format!("\n{}", server.line()))?;
            server
                .warnings
                .iter()
                .try_for_each(|warning| screen.line(Tone::Bad, &format!("warning: {warning}")))?;
        }
        let tone = if findings::has_errors(&self.findings) { Tone::Bad } else { Tone::Good };
        screen.line(tone, &format!("\n{}", self.conclusion()))
    }

    fn conclusion(&self) -> String {
        if findings::has_errors(&self.findings) {
            return "The settings are valid, and cannot work as they are deployed.".to_owned();
        }
        let conflicts = self.settings.explain().warnings.len();
        let valid = match findings::warnings(&self.findings, conflicts) {
            Some(warnings) => format!("The settings are valid, with {warnings}"),
            None => "The settings are valid".to_owned(),
        };
        match &self.reached {
            None => format!("{valid}. No server was connected to; use --connect for that."),
            Some(reached) if reached.iter().any(|server| server.missing.is_some()) => {
                format!("{valid}.")
            }
            Some(_) => format!("{valid}, and every server that they name can be reached."),
        }
    }

    fn print_json(&self) -> io::Result<()> {
        let explanation = self.settings.explain();
        let mut output = json!({
            "good": !findings::has_errors(&self.findings),
            "settings": explanation.rows,
            "warnings": explanation.warnings,
            "findings": findings::to_json(&self.findings),
        });
        if let Some(Changes { effective, overridden }) = &self.changes {
            output["changes"] = json!(effective);
            output["overridden"] = json!(overridden);
        }
        if let Some(reached) = &self.reached {
            output["connected"] = reached.iter().map(Reached::to_json).collect();
        }
        writeln!(io::stdout(), "{output}")
    }
}

impl Changes {
    fn print(&self, screen: &mut Screen, settings: &Settings) -> io::Result<()> {
        if self.effective.is_empty() {
            screen.line(Tone::Plain, "No setting has another value than before.")?;
        }
        for change in &self.effective {
            screen.line(Tone::Plain, &change.to_string())?;
        }
        let explanation = settings.explain();
        for change in &self.overridden {
            let source = explanation.row(change.new.setting).map(|row| row.source.as_str());
            let line = format!("{change}: no effect, {} overrides it", source.unwrap_or("code"));
            screen.line(Tone::Plain, &line)?;
        }
        let warnings = explanation.warnings.iter();
        warnings
            .into_iter()
            .try_for_each(|warning| screen.line(Tone::Plain, &format!("warning: {warning}")))
    }
}
