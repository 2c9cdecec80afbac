//! Parses what the rules need of Markdown: fenced code, and prose without code.

/// Something of some lines, with their numbers.
type Lines<T> = Vec<(usize, T)>;

/// Returns the lines that open fenced code, each with the text after its backticks (`rust`, `toml`,
/// or nothing), and the lines of prose without inline code.
pub fn read(page: &str) -> (Lines<&str>, Lines<String>) {
    let (mut fences, mut prose) = (Vec::new(), Vec::new());
    // The marker of the open fence.
    let mut closing: Option<&str> = None;
    for (at, text) in page.lines().enumerate() {
        let line = at + 1;
        let trimmed = text.trim_start();
        let ticks = trimmed.len() - trimmed.trim_start_matches('`').len();
        let (marker, info) = trimmed.split_at(ticks);
        match closing {
            Some(open) if ticks >= open.len() && info.trim().is_empty() => closing = None,
            Some(_) => {}
            None if ticks >= 3 => {
                fences.push((line, info.trim()));
                closing = Some(marker);
            }
            None => prose.push((line, without_code(text))),
        }
    }
    (fences, prose)
}

/// Returns the code spans of a line.
pub fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn without_code(line: &str) -> String {
    // With an odd number of backticks the text after the last one is prose.
    let parts: Vec<&str> = line.split('`').collect();
    let is_prose = |at: usize| at.is_multiple_of(2) || at + 1 == parts.len();
    parts.iter().enumerate().map(|(at, part)| if is_prose(at) { *part } else { "``" }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_and_inline_code_are_not_prose() {
        let (fences, prose) = read("one `[a](b)` two\n```rust,no_run\n[c](d)\n```\nthree");
        assert_eq!(fences, [(2, "rust,no_run")]);
        assert_eq!(prose, [(1, "one `` two".to_owned()), (5, "three".to_owned())]);
    }

    #[test]
    fn a_longer_fence_may_contain_a_shorter_one() {
        let (fences, prose) = read("````text\n```\n````\nafter");
        assert_eq!((fences.len(), prose.len()), (1, 1));
    }

    #[test]
    fn code_spans_are_found() {
        assert_eq!(code_spans("| `a::b`, `c` | d").collect::<Vec<_>>(), ["a::b", "c"]);
    }
}
