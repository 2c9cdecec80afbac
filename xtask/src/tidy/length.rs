//! A function fits the screen, a file its idea.

use std::collections::BTreeSet;

use super::Violation;
use super::tokens::Kind;
use super::workspace::{Source, Workspace};

/// Lines of a function from `fn` to the closing brace, whatever they hold: it is read as it stands.
const FUNCTION_LINES_MAX: usize = 70;

/// Lines of a file with code on them: not blank, not only a comment, not under `#[cfg(test)]`.
const FILE_LINES_MAX: usize = 400;

/// No function is longer than 70 lines and no file longer than 400 lines of code.
pub fn fits_the_screen(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &workspace.sources {
        for function in &source.functions {
            let (first, last) = function.lines;
            let length = last + 1 - first;
            if length > FUNCTION_LINES_MAX {
                let name = &function.name;
                let message =
                    format!("`{name}` has {length} lines, {FUNCTION_LINES_MAX} are allowed; give a part a name");
                violations.push(Violation::new(&source.path, first, message));
            }
        }
        let length = code_lines(source);
        if length > FILE_LINES_MAX {
            let message = format!("{length} lines of code, {FILE_LINES_MAX} are allowed; give its second idea a file");
            violations.push(Violation::new(&source.path, 1, message));
        }
    }
    violations
}

fn code_lines(source: &Source) -> usize {
    let code = source.tokens.iter().filter(|token| token.kind != Kind::Doc && !token.place.cfg_test);
    let lines: BTreeSet<usize> = code.flat_map(|token| token.lines.0..=token.lines.1).collect();
    // A string may span lines and hold blank ones.
    let blank = |line: usize| source.text.lines().nth(line.saturating_sub(1)).is_none_or(|text| text.trim().is_empty());
    lines.into_iter().filter(|line| !blank(*line)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<Violation> {
        fits_the_screen(&Workspace::of(&[("crates/a/src/lib.rs", text)]))
    }

    fn function(lines: usize) -> String {
        format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_of_a_screen_passes_and_a_longer_one_is_caught() {
        assert_eq!(check(&function(70)), []);
        assert_eq!(check(&function(71)).len(), 1);
    }

    #[test]
    fn comments_blank_lines_and_tests_do_not_make_a_file_long() {
        let code = "const A: u8 = 1;\n".repeat(400);
        let rest = "// why\n/// what\n\n".repeat(99);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        // The attribute itself is the one line of the tests that counts.
        let code = code.replacen("const A: u8 = 1;\n", "", 1);
        assert_eq!(check(&format!("//! Job.\n{code}{rest}struct B;\n{tests}")).len(), 1);
        let code = code.replacen("const A: u8 = 1;\n", "", 1);
        assert_eq!(check(&format!("//! Job.\n{code}{rest}struct B;\n{tests}")), []);
    }
}
