//! Counts passed, failed and skipped tests.

use std::fmt::Write as _;

/// The result of a step.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed, or whose result is unknown.
    pub failed: usize,
    /// For each failure its name, and how to fix it.
    pub failures: Vec<String>,
    /// The lines of the skipped tests, each with its reason.
    pub skips: Vec<String>,
}

impl Tally {
    /// Returns the tally of a step that counts as one test.
    pub fn one(name: &str, is_success: bool, help: &str) -> Self {
        let mut tally = Self::default();
        if is_success {
            tally.passed = 1;
        } else {
            tally.fail(format!("{name}: {help}"));
        }
        tally
    }

    /// Counts a failure.
    pub fn fail(&mut self, message: String) {
        self.failed += 1;
        self.failures.push(message);
    }

    /// Adds the result of another step.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.skips.extend(other.skips);
    }

    /// Returns true if nothing failed.
    pub fn is_success(&self) -> bool {
        self.failed == 0
    }

    /// Returns the failures, the skips and the closing line, without a newline at the end.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for failure in &self.failures {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "FAILED {failure}");
        }
        for skip in &self.skips {
            let _ = writeln!(text, "{skip}");
        }
        let Self { passed, failed, skips, .. } = self;
        let _ = write!(text, "{passed} passed, {failed} failed, {} skipped", skips.len());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_ends_with_the_count_alone_on_its_line() {
        let mut total = Tally::one("tidy", true, "");
        total.add(Tally::one("fmt", false, "run `cargo fmt --all`"));
        let skips = vec!["SKIP no PG_URL".to_owned()];
        total.add(Tally { passed: 3, skips, ..Tally::default() });
        assert_eq!(
            total.summary(),
            "FAILED fmt: run `cargo fmt --all`\nSKIP no PG_URL\n4 passed, 1 failed, 1 skipped"
        );
        assert!(!total.is_success());
    }
}
