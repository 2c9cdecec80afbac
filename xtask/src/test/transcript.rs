//! Reads what `cargo test -- --show-output` prints, line by line: counts it, and says which lines
//! are worth showing.
//!
//! The harness prints a binary's story in a fixed order: `running N tests`, one line a test, the
//! output of the tests that passed, their names, the output of those that failed, their names,
//! `test result:`. [`Chapter`] is where in that order we are. What a test itself printed is only
//! looked at for `SKIP`, so it cannot be mistaken for a count.
//!
//! # Invariants
//!
//! 1. Every binary that said `running` either says `test result:` or is counted as one failure.
//! 2. `passed` + `failed` + tests that skipped is the number of tests that were not filtered out,
//!    if all binaries ended.

use super::tally::Tally;

/// Where in the story of a test binary the next line belongs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Chapter {
    /// Cargo speaks: compiling, running.
    #[default]
    Cargo,
    /// `test name ... ok` and whatever the tests printed past the capture.
    Tests,
    /// What a passing test printed; whether this test has said `SKIP` already.
    PassedOutput { skipped: bool },
    /// The names of the tests that passed, again.
    PassedNames,
    /// What a failing test printed.
    FailedOutput,
    /// The names of the tests that failed, again.
    FailedNames,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub struct Transcript {
    chapter: Chapter,
    /// The binary that runs, as cargo named it; once it has failed, the arguments that run it
    /// again.
    binary: String,
    /// The tests of this binary that failed.
    failures: Vec<String>,
    /// Tests of this binary that passed by saying `SKIP`.
    skipped: usize,
    tally: Tally,
}

impl Transcript {
    /// Takes in the next line; true if a reader wants to see it.
    pub fn shows(&mut self, line: &str) -> bool {
        if line.strip_prefix("SKIP").is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)) {
            return self.skip(line);
        }
        match self.chapter {
            Chapter::Cargo | Chapter::Tests => self.test_line(line),
            Chapter::PassedOutput { .. } if line == "successes:" => {
                self.turn_to(Chapter::PassedNames, false)
            }
            Chapter::PassedOutput { .. } if is_output_header(line) => {
                self.turn_to(Chapter::PassedOutput { skipped: false }, false)
            }
            Chapter::PassedOutput { .. } => false,
            Chapter::PassedNames if line.is_empty() || line.starts_with("    ") => false,
            Chapter::PassedNames => self.test_line(line),
            Chapter::FailedOutput if line == "failures:" => {
                self.turn_to(Chapter::FailedNames, true)
            }
            Chapter::FailedOutput => true,
            Chapter::FailedNames => self.test_line(line),
        }
    }

    /// The output has ended, and cargo with it.
    pub fn finish(mut self, cargo_is_well: bool) -> Tally {
        self.close_binary();
        if !cargo_is_well && self.tally.failed == 0 {
            self.tally.fail(
                "cargo test: did not compile, or a binary died; read its output above".to_owned(),
            );
        }
        if cargo_is_well && self.tally.passed + self.tally.failed + self.tally.skips.len() == 0 {
            self.tally.fail("cargo test: no test ran; does the filter name one?".to_owned());
        }
        self.tally
    }

    fn test_line(&mut self, line: &str) -> bool {
        if let Some(binary) = binary_name(line) {
            self.close_binary();
            self.binary = binary;
        } else if let Some(again) = rerun_arguments(line) {
            // Better than the first name, for every crate may have a `tests/it/main.rs`.
            self.binary = again.to_owned();
        } else if line.starts_with("running ") && line.trim_end_matches('s').ends_with(" test") {
            self.chapter = Chapter::Tests;
        } else if line == "successes:" {
            return self.turn_to(Chapter::PassedOutput { skipped: false }, false);
        } else if line == "failures:" {
            return self.turn_to(Chapter::FailedOutput, true);
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.result(counts);
        } else if let Some((name, verdict)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        {
            self.verdict(name, verdict);
        }
        true
    }

    fn turn_to(&mut self, chapter: Chapter, shows: bool) -> bool {
        self.chapter = chapter;
        shows
    }

    /// `test name ... verdict`: the counts come later, from the result; here are only the names.
    fn verdict(&mut self, name: &str, verdict: &str) {
        if verdict == "FAILED" {
            self.failures.push(name.to_owned());
        } else if verdict.starts_with("ignored") {
            self.tally.skips.push(format!("SKIP {name}: {verdict}"));
        }
    }

    /// `ok. 3 passed; 0 failed; 0 ignored; ..`: this binary's story is complete.
    fn result(&mut self, counts: &str) {
        self.tally.passed += count(counts, "passed").saturating_sub(self.skipped);
        self.tally.failed += count(counts, "failed");
        self.skipped = 0;
        self.chapter = Chapter::Cargo;
    }

    fn skip(&mut self, line: &str) -> bool {
        self.tally.skips.push(line.to_owned());
        if self.chapter == (Chapter::PassedOutput { skipped: false }) {
            self.skipped += 1;
            self.chapter = Chapter::PassedOutput { skipped: true };
        }
        true
    }

    /// The next binary begins, or there is none.
    fn close_binary(&mut self) {
        let binary = &self.binary;
        self.tally.failures.extend(self.failures.drain(..).map(|name| format!("{binary}: {name}")));
        if self.chapter != Chapter::Cargo {
            self.tally.fail(format!("{binary}: ended before its result; read its output above"));
        }
        self.skipped = 0;
        self.chapter = Chapter::Cargo;
    }
}

/// ` Running tests/it/main.rs (target/debug/deps/it-0123456789abcdef)` or ` Doc-tests millpond`.
fn binary_name(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("   Doc-tests ") {
        return Some(format!("{name} doctests"));
    }
    let (source, program) = line.strip_prefix("     Running ")?.split_once(" (")?;
    let file = program.trim_end_matches(')').rsplit(['/', '\\']).next()?;
    let name = file.rsplit_once('-').map_or(file, |(name, _hash)| name);
    Some(format!("{name} {source}"))
}

/// ``error: test failed, to rerun pass `-p millpond-sqlite --test it` ``
fn rerun_arguments(line: &str) -> Option<&str> {
    let (_, arguments) =
        line.strip_prefix("error: ")?.split_once("test failed, to rerun pass `")?;
    arguments.strip_suffix('`')
}

fn is_output_header(line: &str) -> bool {
    line.starts_with("---- ") && line.ends_with(" stdout ----")
}

/// The number before `word` in `ok. 3 passed; 0 failed`.
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

    fn read(text: &str, cargo_is_well: bool) -> (Tally, Vec<&str>) {
        let mut transcript = Transcript::default();
        let shown = text.lines().filter(|line| transcript.shows(line)).collect();
        (transcript.finish(cargo_is_well), shown)
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
    fn output_of_passing_tests_is_hidden_and_that_of_failing_ones_is_shown() {
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
    fn nothing_ran_is_a_failure() {
        let (tally, _) =
            read("running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored\n", true);
        assert_eq!((tally.passed, tally.failed), (0, 1));
    }
}
