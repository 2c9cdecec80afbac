//! A file begins with its job and has at most 400 lines of code. Clippy limits the length of a
//! function.

use super::Violation;
use super::workspace::Workspace;

/// The least number of words in a first line.
const WORDS_MIN: usize = 3;

/// The most lines of code, without blank lines, comments and the unit tests at the end.
const FILE_LINES_MAX: usize = 400;

/// The first line of every Rust file is `//!` and a sentence.
pub fn says_its_job(workspace: &Workspace) -> Vec<Violation> {
    let job =
        |text: &str| Some(text.lines().next()?.strip_prefix("//!")?.split_whitespace().count());
    let found = workspace.sources.iter().filter(|it| job(&it.text).unwrap_or(0) < WORDS_MIN);
    let message = "the first line is too short; begin with `//!` and the job of the file";
    found.map(|source| Violation::new(&source.path, 1, message)).collect()
}

/// No file is longer than 400 lines of code.
pub fn fits_one_idea(workspace: &Workspace) -> Vec<Violation> {
    let lengths = workspace.sources.iter().map(|source| (source, code_lines(&source.text)));
    let message = |length| {
        format!("{length} lines of code, {FILE_LINES_MAX} are allowed; move a part to another file")
    };
    lengths
        .filter(|(_, length)| *length > FILE_LINES_MAX)
        .map(|(source, length)| Violation::new(&source.path, 1, message(length)))
        .collect()
}

fn code_lines(text: &str) -> usize {
    // Code may follow `mod tests;`.
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines = code.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_is_a_sentence() {
        let check = |text| says_its_job(&Workspace::of(&[("a/tests/it/main.rs", text)])).len();
        assert_eq!(check("//! The way back.\n"), 0);
        for text in ["// The way back.\n", "\n//! The way back.\n", "//! Checkin module\n", ""] {
            assert_eq!(check(text), 1, "{text}");
        }
    }

    #[test]
    fn comments_blank_lines_and_tests_do_not_make_a_file_long() {
        let check = |text: &str| fits_one_idea(&Workspace::of(&[("a/src/lib.rs", text)])).len();
        let code = "const A: u8 = 1;\n".repeat(400);
        let rest = "// why\n/// what\n\n".repeat(99);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert_eq!(check(&format!("//! Job.\n{code}{rest}{tests}")), 0);
        assert_eq!(check(&format!("//! Job.\n{code}{rest}struct B;\n{tests}")), 1);
    }
}
