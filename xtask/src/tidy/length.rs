//! A file has one idea, so it has at most 400 lines of code. Clippy limits the length of a
//! function.

use super::Violation;
use super::workspace::Workspace;

/// The most lines that are neither blank, nor only a comment, nor part of the unit tests at the
/// end.
const FILE_LINES_MAX: usize = 400;

/// No file is longer than 400 lines of code.
pub fn fits_one_idea(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &workspace.sources {
        let length = code_lines(&source.text);
        if length > FILE_LINES_MAX {
            let message = format!(
                "{length} lines of code, {FILE_LINES_MAX} are allowed; give its second idea a file"
            );
            violations.push(Violation::new(&source.path, 1, message));
        }
    }
    violations
}

fn code_lines(text: &str) -> usize {
    // `mod tests;` is no end: what follows it is code.
    let end = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text.get(..end).unwrap_or_default().lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> usize {
        fits_one_idea(&Workspace::of(&[("crates/a/src/lib.rs", text)])).len()
    }

    #[test]
    fn comments_blank_lines_and_tests_do_not_make_a_file_long() {
        let code = "const A: u8 = 1;\n".repeat(400);
        let rest = "// why\n/// what\n\n".repeat(99);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert_eq!(check(&format!("//! Job.\n{code}{rest}{tests}")), 0);
        assert_eq!(check(&format!("//! Job.\n{code}{rest}struct B;\n{tests}")), 1);
    }
}
