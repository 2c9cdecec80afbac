//! A table with aligned columns.

use std::fmt;

/// Rows of cells, printed in columns that are as wide as their widest cell.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// True if all columns are left-aligned, not only the first one.
    left: bool,
}

impl Table {
    /// Creates a table with these headings.
    pub fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        let mut table = Self::default();
        table.row(headings.into_iter().map(str::to_owned));
        table
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Left-aligns all columns. By default all but the first hold numbers and are right-aligned.
    #[must_use]
    pub fn left_aligned(mut self) -> Self {
        self.left = true;
        self
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in &self.rows {
            widths.resize(row.len().max(widths.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        widths
    }
}

/// Without a newline at the end, and without spaces at the end of a line.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for (n, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => line.push_str(&format!("{cell:<width$}")),
                    _ if self.left => line.push_str(&format!("  {cell:<width$}")),
                    _ => line.push_str(&format!("  {cell:>width$}")),
                }
            }
            write!(f, "{}{}", if n > 0 { "\n" } else { "" }, line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_left_aligned_and_numbers_right_aligned() {
        let mut table = Table::new(["", "writer", "readers"]);
        table.row(["acquires", "7", "1024"].map(str::to_owned));
        table.row(["wait p99", "12 us", ""].map(str::to_owned));
        assert_eq!(
            table.to_string(),
            "          writer  readers\nacquires       7     1024\nwait p99   12 us"
        );
        assert!(table.left_aligned().to_string().ends_with("\nwait p99  12 us"));
    }
}
