//! Output to the user: lines on standard output, a progress line on a terminal, and colour only
//! where it is visible.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Standard output, and standard error for the progress line.
#[derive(Debug)]
pub struct Screen {
    /// True if lines are printed; false if standard output is JSON.
    lines: bool,
    colour: bool,
    /// True if standard error is a terminal.
    live: bool,
    /// The number of characters in the progress line.
    shown: usize,
}

/// The meaning of a line, which selects its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Ordinary text.
    Plain,
    /// The heading of a section.
    Heading,
    /// A success.
    Good,
    /// A failure.
    Bad,
}

impl Screen {
    /// Creates a screen that prints lines, in colour if standard output is a terminal and
    /// `NO_COLOR` is not set.
    pub fn for_people() -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = io::stdout().is_terminal() && !refused;
        Self { lines: true, colour, live: io::stderr().is_terminal(), shown: 0 }
    }

    /// Creates a screen that prints no lines, for JSON output.
    pub fn for_machines() -> Self {
        Self { lines: false, colour: false, live: io::stderr().is_terminal(), shown: 0 }
    }

    /// Prints one or several lines.
    ///
    /// # Errors
    ///
    /// Returns an error if standard output cannot be written.
    pub fn line(&mut self, tone: Tone, text: &str) -> io::Result<()> {
        if !self.lines {
            return Ok(());
        }
        self.clear();
        let mut out = io::stdout().lock();
        match code(tone).filter(|_| self.colour) {
            Some(code) => writeln!(out, "\x1b[{code}m{text}\x1b[0m")?,
            None => writeln!(out, "{text}")?,
        }
        out.flush()
    }

    /// Replaces the progress line. Does nothing if standard error is not a terminal.
    pub fn progress(&mut self, text: &str) {
        if !self.live {
            return;
        }
        let width = text.chars().count();
        let blanks = " ".repeat(self.shown.saturating_sub(width));
        // Without escape codes, so that it works on the simplest terminal. A failed write is
        // ignored.
        let _ = write!(io::stderr(), "\r{text}{blanks}");
        self.shown = width;
    }

    /// Erases the progress line.
    pub fn clear(&mut self) {
        if self.shown > 0 {
            let _ = write!(io::stderr(), "\r{}\r", " ".repeat(self.shown));
            self.shown = 0;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Formats a duration with three digits and a unit.
pub fn format_duration(time: Duration) -> String {
    let nanos = time.as_nanos();
    let (value, unit) = match nanos {
        0 => return "0".to_owned(),
        1..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (time.as_secs_f64() * 1e6, "us"),
        1_000_000..1_000_000_000 => (time.as_secs_f64() * 1e3, "ms"),
        _ => (time.as_secs_f64(), "s"),
    };
    match value {
        100.0.. => format!("{value:.0} {unit}"),
        10.0.. => format!("{value:.1} {unit}"),
        _ => format!("{value:.2} {unit}"),
    }
}

fn code(tone: Tone) -> Option<&'static str> {
    match tone {
        Tone::Plain => None,
        Tone::Heading => Some("1"),
        Tone::Good => Some("32"),
        Tone::Bad => Some("31"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_three_digits_and_a_unit() {
        for (nanos, text) in [
            (0, "0"),
            (999, "999 ns"),
            (1_234, "1.23 us"),
            (12_345, "12.3 us"),
            (123_456, "123 us"),
            (4_200_000, "4.20 ms"),
            (2_000_000_000, "2.00 s"),
            (300_000_000_000, "300 s"),
        ] {
            assert_eq!(format_duration(Duration::from_nanos(nanos)), text);
        }
    }
}
