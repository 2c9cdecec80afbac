//! The first line of every file says what its one job is.

use super::Violation;
use super::workspace::Workspace;

/// Fewer words than this name a file but do not say what it is for.
const WORDS_MIN: usize = 3;

/// The first line of every Rust file is a `//!` with a sentence.
pub fn says_its_job(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &workspace.sources {
        let first = source.text.lines().next().unwrap_or_default();
        let words = first.strip_prefix("//!").map(|job| job.split_whitespace().count());
        let problem = match words {
            None => "the first line is not a `//!`",
            Some(words) if words < WORDS_MIN => "the first line says too little",
            Some(_) => continue,
        };
        violations.push(Violation::new(
            &source.path,
            1,
            format!("{problem}; begin with `//!` and the file's single job"),
        ));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> usize {
        says_its_job(&Workspace::of(&[("crates/a/tests/it/main.rs", text)])).len()
    }

    #[test]
    fn a_sentence_passes() {
        assert_eq!(check("//! The way back.\n"), 0);
    }

    #[test]
    fn no_doc_or_hardly_a_word_is_caught() {
        assert_eq!(check("// The way back.\n"), 1);
        assert_eq!(check("\n//! The way back.\n"), 1);
        assert_eq!(check("//! Checkin module\n"), 1);
        assert_eq!(check(""), 1);
    }
}
