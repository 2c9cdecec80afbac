//! Draws some rows as SVG: a bar for each pool.

use crate::results::{Line, Results, short};
use crate::rows::POOLS;

/// A picture: its file, its heading, and its rows with their headings.
pub struct Picture {
    pub file: &'static str,
    pub title: &'static str,
    panels: &'static [(&'static str, &'static str)],
    /// True for a logarithmic axis.
    logarithmic: bool,
}

/// The pictures of the page.
pub const PICTURES: [Picture; 3] = [
    Picture {
        file: "uncontended.svg",
        title: "Acquire and return, one task (nanoseconds; shorter is better; logarithmic)",
        panels: &[("uncontended", "one core"), ("uncontended_core2", "two workers")],
        logarithmic: true,
    },
    Picture {
        file: "throughput.svg",
        title: "Operations a second on ten connections, two cores (longer is better)",
        panels: &[
            ("threads2", "two tasks, no hold"),
            ("hold64", "64 tasks, held over a yield"),
            ("hold256", "256 tasks, held over a yield"),
        ],
        logarithmic: false,
    },
    Picture {
        file: "waits.svg",
        title: "The longest wait in 1000, two cores (microseconds; shorter is better; logarithmic)",
        panels: &[("hold64_p999", "64 tasks on ten"), ("hold256_p999", "256 tasks on ten")],
        logarithmic: true,
    },
];

const WIDTH: f64 = 760.0;
const LEFT: f64 = 100.0;
const BARS: f64 = 520.0;
const LINE: f64 = 22.0;

impl Picture {
    /// Draws the picture as SVG; omits pools without a result.
    pub fn draw(&self, results: &Results) -> String {
        let (title, mut y) = (self.title, 40.0);
        let mut body = text(12.0, 20.0, "bold", "start", title);
        for (row, heading) in self.panels {
            body += &text(LEFT, y, "bold", "start", heading);
            y += 10.0;
            let lines = results.row(row);
            for line in POOLS.iter().filter_map(|pool| lines.iter().find(|line| line.pool == *pool))
            {
                body += &bar(line, y, |value| length(value, &lines, self.logarithmic));
                y += LINE;
            }
            y += 24.0;
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" \
             width=\"{WIDTH}\" height=\"{y}\" role=\"img\" font-family=\"system-ui, sans-serif\" \
             font-size=\"12\" fill=\"#212529\">\n\
             <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             {body}</svg>\n",
        )
    }
}

/// Returns the length of the bar for a value, relative to these lines.
fn length(value: f64, lines: &[&Line], logarithmic: bool) -> f64 {
    let most = lines.iter().map(|line| line.high).fold(0.0, f64::max);
    // The shortest bar must be visible, so the axis begins at a third of the least value.
    let least =
        (lines.iter().map(|line| line.low).fold(most, f64::min) / 3.0).max(f64::MIN_POSITIVE);
    let share = if logarithmic {
        (value.max(least) / least).ln() / (most / least).ln()
    } else {
        value / most
    };
    if share.is_finite() { share.clamp(0.0, 1.0) * BARS } else { 0.0 }
}

/// Draws a pool's bar with its name, its value, and a thin line from the lowest to the highest
/// round.
fn bar(line: &Line, y: f64, length: impl Fn(f64) -> f64) -> String {
    let (colour, weight) = match line.pool.as_str() {
        "millpond" => ("#0b7285", "bold"),
        "floor" => ("#dee2e6", "normal"),
        _ => ("#adb5bd", "normal"),
    };
    let [low, end, high] = [line.low, line.median, line.high].map(|value| LEFT + length(value));
    let (top, width, height, middle) = (y + 3.0, end - LEFT, LINE - 6.0, y + LINE / 2.0);
    let name = text(LEFT - 8.0, middle + 4.0, weight, "end", &line.pool);
    let value = text(high.max(end) + 8.0, middle + 4.0, weight, "start", &short(line.median));
    format!(
        "{name}<rect x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\" \
         fill=\"{colour}\"/>\n\
         <path d=\"M{low:.1} {middle}H{high:.1}\" stroke=\"#212529\" \
         stroke-width=\"1.5\"/>\n{value}"
    )
}

fn text(x: f64, y: f64, weight: &str, anchor: &str, words: &str) -> String {
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"{weight}\" \
         text-anchor=\"{anchor}\">{words}</text>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_bar_follows_its_value() {
        let line = Line::of("hold64", "millpond", [3.0, 50.0, 300.0]);
        assert_eq!([300.0, 150.0].map(|value| length(value, &[&line], false)), [BARS, BARS / 2.0]);
        let thirds = [1.0, 300.0].map(|value| length(value, &[&line], true));
        assert_eq!(thirds, [0.0, BARS]);
    }

    #[test]
    fn a_picture_without_results_is_valid() {
        let drawn = PICTURES[0].draw(&Results::default());
        assert!(drawn.starts_with("<svg") && !drawn.contains("NaN"), "{drawn}");
    }
}
