//! Parses the output of `cargo test -- --show-output` by line, counts results, and decides which
//! lines are shown.
//!
//! The test harness prints the sections of a binary in a fixed order: `running N tests`, a line for
//! each test, the output of the passed tests, their names, the output of the failed tests, their
//! names, `test result:`. [`Section`] is the current one. The output of a test is searched only for
//! `SKIP`, so it cannot be mistaken for a result.
//!
//! # Invariants
//!
//! 1. Every binary that prints `running` either prints `test result:` or is counted as one failure.
//! 2. If all binaries end, `passed` + `failed` + skipped tests is the number of tests that were not
//!    filtered out.

use super::tally::Tally;

/// The section of the output that the next line belongs to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// Output of cargo itself: compiling, running.
    #[default]
    Cargo,
    /// `test name ... ok`, and output of tests that was not captured.
    Tests,
    /// The output of a passed test, and whether that test has printed `SKIP` already.
    PassedOutput { skipped: bool },
    /// The names of the passed tests.
    PassedNames,
    /// The output of a failed test.
    FailedOutput,
}

/// The state of the parser.
#[derive(Debug, Default)]
pub struct Transcript {
    section: Section,
    /// The current binary, as cargo names it; once it has failed, the arguments that run it again.
    binary: String,
    /// The tests of this binary that failed.
    failures: Vec<String>,
    /// Tests of this binary that passed and printed `SKIP`.
    skipped: usize,
    tally: Tally,
}

impl Transcript {
    /// Parses the next line; true if it is to be shown.
    pub fn shows(&mut self, line: &str) -> bool {
        if line.strip_prefix("SKIP").is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)) {
            return self.skip(line);
        }
        match self.section {
            Section::Cargo | Section::Tests => self.test_line(line),
            Section::PassedOutput { .. } if line == "successes:" => {
                self.enter(Section::PassedNames, false)
            }
            Section::PassedOutput { .. } if is_output_header(line) => {
                self.enter(Section::PassedOutput { skipped: false }, false)
            }
            Section::PassedOutput { .. } => false,
            Section::PassedNames if line.is_empty() || line.starts_with("    ") => false,
            Section::PassedNames => self.test_line(line),
            Section::FailedOutput if line == "failures:" => self.enter(Section::Tests, true),
            Section::FailedOutput => true,
        }
    }

    /// Returns the result once cargo has ended.
    pub fn finish(mut self, is_success: bool) -> Tally {
        self.close_binary();
        if !is_success && self.tally.failed == 0 {
            self.tally.fail(
                "cargo test: did not compile, or a binary crashed; see its output above".to_owned(),
            );
        }
        if is_success && self.tally.passed + self.tally.failed + self.tally.skips.len() == 0 {
            self.tally.fail("cargo test: no test ran; check the filter".to_owned());
        }
        self.tally
    }

    fn test_line(&mut self, line: &str) -> bool {
        if let Some(binary) = binary_name(line) {
            self.close_binary();
            self.binary = binary;
        } else if let Some(again) = rerun_arguments(line) {
            // Unlike the first name it has the crate: several crates have a `tests/it/main.rs`.
            self.binary = again.to_owned();
        } else if line.starts_with("running ") && line.trim_end_matches('s').ends_with(" test") {
            self.section = Section::Tests;
        } else if line == "successes:" {
            return self.enter(Section::PassedOutput { skipped: false }, false);
        } else if line == "failures:" {
            return self.enter(Section::FailedOutput, true);
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.result(counts);
        } else if let Some((name, verdict)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        {
            self.verdict(name, verdict);
        }
        true
    }

    fn enter(&mut self, section: Section, shows: bool) -> bool {
        self.section = section;
        shows
    }

    /// Records the name of a test in `test name ... verdict`; the counts are in `test result:`.
    fn verdict(&mut self, name: &str, verdict: &str) {
        if verdict == "FAILED" {
            self.failures.push(name.to_owned());
        } else if verdict.starts_with("ignored") {
            self.tally.skips.push(format!("SKIP {name}: {verdict}"));
        }
    }

    /// Adds the counts of a binary: `ok. 3 passed; 0 failed; 0 ignored; ..`.
    fn result(&mut self, counts: &str) {
        self.tally.passed += count(counts, "passed").saturating_sub(self.skipped);
        self.tally.failed += count(counts, "failed");
        self.skipped = 0;
        self.section = Section::Cargo;
    }

    fn skip(&mut self, line: &str) -> bool {
        self.tally.skips.push(line.to_owned());
        if self.section == (Section::PassedOutput { skipped: false }) {
            self.skipped += 1;
            self.section = Section::PassedOutput { skipped: true };
        }
        true
    }

    /// Ends the current binary.
    fn close_binary(&mut self) {
        let binary = &self.binary;
        self.tally.failures.extend(self.failures.drain(..).map(|name| format!("{binary}: {name}")));
        if self.section != Section::Cargo {
            self.tally.fail(format!("{binary}: ended before its result; see its output above"));
        }
        self.skipped = 0;
        self.section = Section::Cargo;
    }
}

/// Parses ` Running tests/it/main.rs (target/debug/deps/it-0123456789abcdef)` or ` Doc-tests
/// millpond`.
fn binary_name(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("   Doc-tests ") {
        return Some(format!("{name} doctests"));
    }
    let (source, program) = line.strip_prefix("     Running ")?.split_once(" (")?;
    let file = program.trim_end_matches(')').rsplit(['/', '\\']).next()?;
    let name = file.rsplit_once('-').map_or(file, |(name, _hash)| name);
    Some(format!("{name} {source}"))
}

/// Parses ``error: test failed, to rerun pass `-p millpond-sqlite --test it` ``.
fn rerun_arguments(line: &str) -> Option<&str> {
    let (_, arguments) =
        line.strip_prefix("error: ")?.split_once("test failed, to rerun pass `")?;
    arguments.strip_suffix('`')
}

fn is_output_header(line: &str) -> bool {
    line.starts_with("---- ") && line.ends_with(" stdout ----")
}

/// Returns the number before `word` in `ok. 3 passed; 0 failed`.
fn count(counts: &str, word: &str) -> usize {
    let part = counts.split([';', '.']).find_map(|part| part.trim().strip_suffix(word));
    part.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_BINARIES: &str = "\
   Compiling a v0.1.0 (/a)
     Running unittests src/lib.rs (target/debug/deps/a-0123456789abcdef)

running 3 tests
test quiet ... ok
test skips ... ok
test wrong ... FAILED

successes:

---- quiet stdout ----
chatter
test result: ok. 100 passed; 0 failed

---- skips stdout ----
SKIP no PG_URL
SKIP no MYSQL_URL


successes:
    quiet
    skips

failures:

---- wrong stdout ----
thread 'wrong' panicked

failures:
    wrong

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests a

running 2 tests
test src/lib.rs - (line 1) ... ok
test src/lib.rs - (line 9) ... ignored

successes:

successes:
    src/lib.rs - (line 1)

test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    fn read(text: &str, is_success: bool) -> (Tally, Vec<&str>) {
        let mut transcript = Transcript::default();
        let shown = text.lines().filter(|line| transcript.shows(line)).collect();
        (transcript.finish(is_success), shown)
    }

    #[test]
    fn every_test_is_counted_once() {
        let (tally, _) = read(TWO_BINARIES, false);
        assert_eq!((tally.passed, tally.failed), (2, 1));
        assert_eq!(tally.failures, ["a unittests src/lib.rs: wrong"]);
        assert_eq!(
            tally.skips,
            ["SKIP no PG_URL", "SKIP no MYSQL_URL", "SKIP src/lib.rs - (line 9): ignored"]
        );
    }

    #[test]
    fn output_of_passed_tests_is_hidden_and_of_failed_tests_shown() {
        let (_, shown) = read(TWO_BINARIES, false);
        assert!(shown.contains(&"SKIP no PG_URL"));
        assert!(shown.contains(&"thread 'wrong' panicked"));
        assert!(!shown.iter().any(|line| line.contains("chatter") || line.contains("successes")));
    }

    #[test]
    fn a_binary_that_ends_before_its_result_has_failed() {
        let text = "     Running tests/it/main.rs (/t/it-01)\n\nrunning 9 tests\ntest a ... ok\n\
error: test failed, to rerun pass `-p a --test it`\n";
        let (tally, _) = read(text, false);
        assert_eq!((tally.passed, tally.failed), (0, 1));
        assert!(tally.failures.iter().any(|why| why.starts_with("-p a --test it: ended before")));
    }

    #[test]
    fn a_crash_in_one_binary_does_not_hide_the_next() {
        let crash = "     Running tests/it/main.rs (/t/it-01)\n\nrunning 9 tests\ntest a ... ok\n";
        let (tally, _) = read(&format!("{crash}{TWO_BINARIES}"), false);
        assert_eq!((tally.passed, tally.failed), (2, 2));
    }

    #[test]
    fn code_that_does_not_compile_is_a_failure() {
        let (tally, shown) = read("error[E0425]: cannot find value `x`\n", false);
        assert_eq!((tally.passed, tally.failed), (0, 1));
        assert_eq!(shown.len(), 1);
    }

    #[test]
    fn a_run_without_tests_is_a_failure() {
        let (tally, _) =
            read("running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored\n", true);
        assert_eq!((tally.passed, tally.failed), (0, 1));
    }
}
