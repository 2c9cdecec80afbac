//! Renders the results as text: each row's pools, their spread, and their ratio to millpond.

use crate::results::{Line, Results, short};
use crate::rows::{GROUPS, Group, POOLS, Row};

/// Renders the results for a terminal.
pub fn render(results: &Results) -> String {
    let failed = results
        .failed()
        .into_iter()
        .map(|name| format!("{name} failed its gate and is not timed\n"));
    let mut out: String = failed.collect();
    for (group, rows) in measured(results) {
        out += &format!("\n{}\n", group.title.to_uppercase());
        for row in rows {
            out += &format!("\n{}: {}\n", row.name, row.title);
            for line in POOLS.iter().filter_map(|pool| results.find(row.name, pool)) {
                let spread = format!("{} - {}", short(line.low), short(line.high));
                let ratio = ratio(results, line).unwrap_or_default();
                let text =
                    format!("  {:<14} {:>9}   {spread:<19} {ratio}", line.pool, short(line.median));
                out += &format!("{}\n", text.trim_end());
            }
        }
    }
    out
}

/// Renders the results as Markdown: a table for each group, with a column for each of its pools.
pub fn markdown(results: &Results) -> String {
    let mut out = String::new();
    let failed = results.failed();
    let has_failed = |pool: &str| failed.iter().any(|failed| failed == pool);
    for (group, rows) in measured(results) {
        // A column for each pool of the group, and for each pool that failed the gate.
        let takes_part = |pool: &str| rows.iter().any(|row| results.find(row.name, pool).is_some());
        let pools: Vec<&str> =
            POOLS.into_iter().filter(|pool| takes_part(pool) || has_failed(pool)).collect();
        out += &format!(
            "### {}\n\n| | {} |\n|---|{}\n",
            group.title,
            pools.join(" | "),
            "---|".repeat(pools.len())
        );
        for row in rows {
            let cell = |pool: &&str| match results.find(row.name, pool) {
                Some(line) => format!(" {} |", cell(results, line)),
                None if has_failed(pool) => " failed |".to_owned(),
                None => " |".to_owned(),
            };
            let cells: String = pools.iter().map(cell).collect();
            out += &format!("| **`{}`** {} |{cells}\n", row.name, row.title);
        }
        out.push('\n');
    }
    out
}

/// Returns the groups with the rows that were measured.
fn measured(results: &Results) -> Vec<(&'static Group, Vec<&'static Row>)> {
    let rows = |group: &'static Group| {
        group.rows.iter().filter(|row| !results.row(row.name).is_empty()).collect()
    };
    let groups = GROUPS.iter().map(|group| (group, rows(group)));
    groups.filter(|(_, rows): &(_, Vec<_>)| !rows.is_empty()).collect()
}

fn cell(results: &Results, line: &Line) -> String {
    let ratio =
        ratio(results, line).filter(|_| line.pool != "millpond").map(|ratio| format!(" {ratio}"));
    let (low, high) = (short(line.low), short(line.high));
    let spread =
        if low == high { String::new() } else { format!("<br><sub>{low} – {high}</sub>") };
    format!("{}{}{spread}", short(line.median), ratio.unwrap_or_default())
}

/// Returns the ratio to millpond's value. Values that are ratios already, or close to zero, are not
/// compared.
fn ratio(results: &Results, line: &Line) -> Option<String> {
    let ours = results.find(&line.row, "millpond")?.median;
    let ratio = line.median / ours;
    let compares =
        !["growth", "fairness", "cancelled"].iter().any(|start| line.row.starts_with(start));
    (compares && ours > 0.0 && ratio.is_finite()).then(|| format!("×{}", short(ratio)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let mut results = Results::default();
        results.add(Line::of("uncontended", "deadpool", [230.0, 240.0, 250.0]));
        results.add(Line::of("uncontended", "millpond", [80.0; 3]));
        results
    }

    #[test]
    fn the_terminal_shows_millpond_first_and_the_others_in_times_it() {
        let text = render(&results());
        let (ours, theirs) = (text.find("  millpond").unwrap(), text.find("  deadpool").unwrap());
        assert!(ours < theirs && text.contains("240   230 - 250           ×3"), "{text}");
    }

    #[test]
    fn the_page_has_a_column_for_each_pool_that_takes_part() {
        let text = markdown(&results());
        assert!(
            text.contains("less is better | 80 | 240 ×3<br><sub>230 – 250</sub> |\n"),
            "{text}"
        );
    }
}
