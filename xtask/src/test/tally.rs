//! How many passed, what failed and what was skipped: the one place that counts.

use std::fmt::Write as _;

/// What a step found out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that ran to their end and were right.
    pub passed: usize,
    /// Tests that were wrong, or of which we cannot know.
    pub failed: usize,
    /// What is said of the failures: names, and what to do.
    pub failures: Vec<String>,
    /// The lines of the tests that did not do their work, each with its reason.
    pub skips: Vec<String>,
}

impl Tally {
    /// A step that counts as one test.
    pub fn one(name: &str, well: bool, cure: &str) -> Self {
        let mut tally = Self::default();
        if well {
            tally.passed = 1;
        } else {
            tally.fail(format!("{name}: {cure}"));
        }
        tally
    }

    /// One more failure, with what there is to say of it.
    pub fn fail(&mut self, why: String) {
        self.failed += 1;
        self.failures.push(why);
    }

    /// Takes over what another step found.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.skips.extend(other.skips);
    }

    /// Whether nothing failed.
    pub fn is_success(&self) -> bool {
        self.failed == 0
    }

    /// Failures and skips by name, then the closing line; no newline at the end.
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
