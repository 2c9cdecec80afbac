//! Findings, as text and as JSON: each with the value of its setting and where that came from.

use crate::terminal::{Screen, Tone};
use millpond::advice::{Finding, Severity};
use millpond::settings::Explanation;
use serde_json::{Value, json};
use std::io;

/// Prints the findings, the most severe first. Notes are printed only `with_notes`.
///
/// # Errors
///
/// Returns an error if standard output cannot be written.
pub fn print(
    screen: &mut Screen,
    findings: &[Finding],
    explanation: &Explanation,
    with_notes: bool,
) -> io::Result<()> {
    let least = if with_notes { Severity::Note } else { Severity::Warning };
    for finding in sorted(findings).into_iter().filter(|finding| finding.severity >= least) {
        let tone = if finding.severity == Severity::Note { Tone::Plain } else { Tone::Bad };
        screen.line(tone, &spelt(finding, explanation).to_string())?;
    }
    Ok(())
}

/// Returns the findings as JSON, the most severe first.
pub fn to_json(findings: &[Finding]) -> Value {
    let to_json = |finding: &Finding| {
        json!({
            "severity": finding.severity.name(),
            "about": finding.about,
            "message": finding.message,
            "help": finding.help,
        })
    };
    sorted(findings).into_iter().map(to_json).collect()
}

/// Returns true if something was found that cannot work.
pub fn has_errors(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// Returns how many warnings there are, as text: `1 warning`.
pub fn warnings(findings: &[Finding], others: usize) -> Option<String> {
    let found = findings.iter().filter(|finding| finding.severity == Severity::Warning).count();
    match found + others {
        0 => None,
        1 => Some("1 warning".to_owned()),
        more => Some(format!("{more} warnings")),
    }
}

fn sorted(findings: &[Finding]) -> Vec<&Finding> {
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    sorted
}

/// Returns the finding with the value and the source of the setting that it is about.
fn spelt(finding: &Finding, explanation: &Explanation) -> Finding {
    let about = match explanation.row(&finding.about) {
        Some(row) => format!("{} = {} ({})", row.setting, row.value, spelt_source(&row.source)),
        None => finding.about.clone(),
    };
    Finding::new(finding.severity, about, &*finding.message, &*finding.help)
}

/// Returns the source of a value, for a user who has written no code.
pub fn spelt_source(source: &str) -> &str {
    if source == "code" { "command line" } else { source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond::Settings;

    #[test]
    fn a_setting_is_shown_with_its_value_and_source() {
        let settings = Settings::loader().no_file().no_environment().load().unwrap();
        let shown = |about: &str| {
            let finding = Finding::new(Severity::Warning, about, "is small", "raise it");
            spelt(&finding, settings.explain()).to_string()
        };
        assert_eq!(
            shown("db.pool_size"),
            "warning: db.pool_size = 10 (default): is small; raise it"
        );
        assert_eq!(shown("clock"), "warning: clock: is small; raise it");
    }
}
