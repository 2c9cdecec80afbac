//! The results as text to read: every row with its pools, their spread, and how they compare with millpond.

use super::results::{Line, Results, short};
use super::rows::{GROUPS, POOLS};

/// The results for a terminal.
pub fn render(results: &Results) -> String {
    let mut out = String::new();
    for name in results.failed() {
        out += &format!("{name} failed its gate and is not timed\n");
    }
    for group in &GROUPS {
        let rows: Vec<_> = group.rows.iter().filter(|row| !results.row(row.name).is_empty()).collect();
        if rows.is_empty() {
            continue;
        }
        out += &format!("\n{}\n", group.title.to_uppercase());
        for row in rows {
            out += &format!("\n{}: {}\n", row.name, row.title);
            for line in in_order(&results.row(row.name)) {
                let spread = format!("{} - {}", short(line.low), short(line.high));
                let ratio = ratio(results, line).unwrap_or_default();
                let text = format!("  {:<14} {:>9}   {spread:<19} {ratio}", line.pool, short(line.median));
                out += text.trim_end();
                out.push('\n');
            }
        }
    }
    out
}

/// The results for a page: a table for each group, a column for each pool that takes part in it.
pub fn markdown(results: &Results) -> String {
    let mut out = String::new();
    let failed = results.failed();
    let has_failed = |pool: &str| failed.iter().any(|failed| failed == pool);
    for group in &GROUPS {
        let rows: Vec<_> = group.rows.iter().filter(|row| !results.row(row.name).is_empty()).collect();
        if rows.is_empty() {
            continue;
        }
        // A column for each pool of the group, and for each that failed its gate.
        let takes_part = |pool: &&str| rows.iter().any(|row| results.find(row.name, pool).is_some());
        let pools: Vec<&str> = POOLS.into_iter().filter(|pool| takes_part(pool) || has_failed(pool)).collect();
        out += &format!("### {}\n\n| | {} |\n|---|", group.title, pools.join(" | "));
        out += &"---|".repeat(pools.len());
        out.push('\n');
        for row in rows {
            out += &format!("| **`{}`** {} |", row.name, row.title);
            for &pool in &pools {
                match results.find(row.name, pool) {
                    Some(line) => out += &format!(" {} |", cell(results, line)),
                    None if has_failed(pool) => out += " failed |",
                    None => out += " |",
                }
            }
            out.push('\n');
        }
        out.push('\n');
    }
    out
}

fn cell(results: &Results, line: &Line) -> String {
    let ratio = match ratio(results, line) {
        Some(ratio) if line.pool != "millpond" => format!(" {ratio}"),
        _ => String::new(),
    };
    let (low, high) = (short(line.low), short(line.high));
    let spread = if low == high { String::new() } else { format!("<br><sub>{low} – {high}</sub>") };
    format!("{}{ratio}{spread}", short(line.median))
}

/// In times millpond's value, where that says anything.
fn ratio(results: &Results, line: &Line) -> Option<String> {
    let ours = results.find(&line.row, "millpond")?.median;
    let ratio = line.median / ours;
    // What is a ratio already, or next to nothing, is not compared.
    let says_nothing = ["growth", "fairness", "cancelled"].iter().any(|start| line.row.starts_with(start));
    let compares = ours > 0.0 && !says_nothing;
    (compares && ratio.is_finite()).then(|| format!("×{}", short(ratio)))
}

fn in_order<'a>(lines: &[&'a Line]) -> Vec<&'a Line> {
    let mut lines = lines.to_vec();
    lines.sort_by_key(|line| POOLS.iter().position(|pool| *pool == line.pool).unwrap_or(POOLS.len()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let mut results = Results::default();
        for (pool, median, low, high) in [("deadpool", 240.0, 230.0, 250.0), ("millpond", 80.0, 80.0, 80.0)] {
            let (row, unit) = ("uncontended".to_owned(), "ns".to_owned());
            results.add(Line { row, pool: pool.to_owned(), unit, median, low, high });
        }
        results
    }

    #[test]
    fn the_terminal_shows_millpond_first_and_the_others_in_times_it() {
        let text = render(&results());
        let (ours, theirs) = (text.find("  millpond").unwrap(), text.find("  deadpool").unwrap());
        assert!(ours < theirs, "{text}");
        assert!(text.contains("240   230 - 250           ×3"), "{text}");
    }

    #[test]
    fn the_page_has_a_column_for_each_pool_that_takes_part() {
        let text = markdown(&results());
        assert!(text.contains("less is better | 80 | 240 ×3<br><sub>230 – 250</sub> |\n"), "{text}");
    }
}
