//! The final report: the table, the settings, and the check of the counts, as text or as JSON.

use super::incidents::Incidents;
use super::workload::Work;
use crate::balance::{Account, Check};
use crate::table::Table;
use crate::terminal::{Screen, Tone, format_duration};
use millpond::CloseReport;
use millpond::settings::{Explanation, Row};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Everything that the demo measured.
#[derive(Debug)]
pub struct Report {
    pub work: Work,
    pub incidents: Incidents,
    pub closing: CloseReport,
    /// The counts of the pools, in the order of the table.
    pub accounts: Vec<Account>,
    pub took: Duration,
    pub interrupted: bool,
    /// The path of the database, if it is kept.
    pub kept: Option<PathBuf>,
    pub settings: Explanation,
}

impl Report {
    /// Returns true if all checks hold.
    pub fn is_balanced(&self) -> bool {
        self.checks().iter().all(|check| check.holds)
    }

    fn checks(&self) -> Vec<Check> {
        let mut checks: Vec<_> = self.accounts.iter().flat_map(Account::checks).collect();
        checks.push(Check {
            text: format!("the pools: {}", self.closing),
            holds: self.closing.is_clean(),
        });
        checks.push(Check {
            text: format!("the load: {} wrong sums", self.work.wrong),
            holds: self.work.wrong == 0,
        });
        checks
    }

    /// Prints the report as text.
    ///
    /// # Errors
    ///
    /// Returns an error if standard output cannot be written.
    pub fn print(&self, screen: &mut Screen) -> io::Result<()> {
        if self.interrupted {
            screen.line(Tone::Plain, "\nCtrl-C: ended early.")?;
        }
        screen.line(Tone::Heading, "\nThe pools, closed")?;
        screen.line(Tone::Plain, &indent(&self.table().to_string()))?;
        screen.line(
            Tone::Heading,
            "\nThe settings that matter here, and where each comes from (`millpond \
             check` lists all)",
        )?;
        screen.line(Tone::Plain, &indent(&self.settings_table().to_string()))?;
        screen.line(Tone::Heading, "\nThe books")?;
        for check in self.checks() {
            let (tone, mark) =
                if check.holds { (Tone::Plain, "right") } else { (Tone::Bad, "WRONG") };
            screen.line(tone, &format!("  {mark}  {}", check.text))?;
        }
        match self.is_balanced() {
            true => screen.line(
                Tone::Good,
                &format!(
                    "The books balance. \
                    Done in {:.1} s.",
                    self.took.as_secs_f64()
                ),
            )?,
            false => screen.line(
                Tone::Bad,
                "The books do not balance: millpond has a defect, or another program has written \
                 to its database.",
            )?,
        }
        match &self.kept {
            Some(file) => {
                screen.line(Tone::Plain, &format!("The database is in {}.", file.display()))
            }
            None => screen.line(Tone::Plain, "The database was a temporary file."),
        }
    }

    /// Prints the report as a JSON object on one line.
    ///
    /// # Errors
    ///
    /// Returns an error if standard output cannot be written.
    pub fn print_json(&self) -> io::Result<()> {
        let pools: serde_json::Map<_, _> = self
            .accounts
            .iter()
            .map(|account| (account.title.to_owned(), account.to_json()))
            .collect();
        let checks: Vec<_> = self
            .checks()
            .into_iter()
            .map(|check| json!({ "check": check.text, "holds": check.holds }))
            .collect();
        let report = json!({
            "balanced": self.is_balanced(),
            "interrupted": self.interrupted,
            "seconds": self.took.as_secs_f64(),
            "load": {
                "seconds": self.work.took.as_secs_f64(),
                "transfers": self.work.writes,
                "sums": self.work.reads,
                "wrong_sums": self.work.wrong,
            },
            "incidents": {
                "overflow": self.incidents.overflow,
                "timeout": self.incidents.timeout,
                "leak": self.incidents.leak,
            },
            "pools": pools,
            "checks": checks,
            "settings": self.settings.rows,
            "file": self.kept.as_ref().map(|file| file.display().to_string()),
        });
        writeln!(io::stdout(), "{report}")
    }

    /// Returns a table of the most common settings, and of all that were set.
    fn settings_table(&self) -> Table {
        const ALWAYS: [&str; 5] = [
            "db.pool_size",
            "db.max_overflow",
            "db.pool_timeout",
            "db.pool_recycle",
            "db.pool_pre_ping",
        ];
        let mut table = Table::new(["setting", "value", "source"]);
        let is_shown = |row: &&Row| ALWAYS.contains(&row.setting) || row.source != "default";
        for row in self.settings.rows.iter().filter(is_shown) {
            table.row([row.setting.to_owned(), row.value.clone(), row.source.clone()]);
        }
        table.left_aligned()
    }

    fn table(&self) -> Table {
        let mut table =
            Table::new([""].into_iter().chain(self.accounts.iter().map(|account| account.title)));
        let mut row = |name: &str, cell: &dyn Fn(&Account) -> String| {
            table.row([name.to_owned()].into_iter().chain(self.accounts.iter().map(cell)));
        };
        row("acquires", &|account| account.status.totals.acquires.to_string());
        row("  ok", &|account| account.status.totals.succeeded.to_string());
        row("  timed out", &|account| account.status.totals.timed_out.to_string());
        row("  cancelled", &|account| account.status.totals.cancelled.to_string());
        row("  failed", &|account| account.status.totals.failed.to_string());
        row("wait p50", &|account| format_duration(account.counts.waits.quantile(500)));
        row("wait p99", &|account| format_duration(account.counts.waits.quantile(990)));
        row("wait max", &|account| format_duration(account.counts.waits.max()));
        row("most waiting at once", &|account| account.counts.waiting_peak.to_string());
        row("opened", &|account| account.status.totals.created.to_string());
        row("closed", &|account| account.status.totals.closed.to_string());
        let reasons: BTreeSet<_> =
            self.accounts.iter().flat_map(|account| account.counts.closed.keys()).collect();
        for reason in reasons {
            let cell = |account: &Account| {
                account.counts.closed.get(reason).copied().unwrap_or_default().to_string()
            };
            row(&format!("  {reason}"), &cell);
        }
        row("in use", &|account| account.status.in_use.to_string());
        row("most open at once", &|account| account.status.totals.peak.to_string());
        row("overflow peak", &|account| account.overflow_peak().to_string());
        table
    }
}

fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("  {line}").trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond::Settings;

    fn report() -> Report {
        Report {
            work: Work::default(),
            incidents: Incidents::default(),
            closing: CloseReport::clean(Duration::ZERO),
            accounts: Vec::new(),
            took: Duration::ZERO,
            interrupted: false,
            kept: None,
            settings: Settings::loader()
                .no_file()
                .no_environment()
                .load()
                .unwrap()
                .explain()
                .clone(),
        }
    }

    #[test]
    fn one_wrong_sum_or_one_open_connection_fails_the_demo() {
        assert!(report().is_balanced());
        let mut wrong = report();
        wrong.work.wrong = 1;
        assert!(!wrong.is_balanced());
        let mut open = report();
        open.closing.pending = 1;
        assert!(!open.is_balanced());
    }

    #[test]
    fn the_report_shows_common_and_changed_settings() {
        let mut report = report();
        assert_eq!(report.settings_table().to_string().lines().count(), 1 + 5);
        report.settings = Settings::loader()
            .no_file()
            .no_environment()
            .set("db.leak_after", "1s")
            .load()
            .unwrap()
            .explain()
            .clone();
        assert!(report.settings_table().to_string().contains("db.leak_after"));
    }
}
