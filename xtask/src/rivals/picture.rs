//! A picture of some rows: a bar for each pool, written as SVG by hand.

use super::results::{Results, short};
use super::rows::POOLS;

/// What a picture shows.
pub struct Picture {
    /// The name of its file.
    pub file: &'static str,
    /// The heading.
    pub title: &'static str,
    /// The rows, each with a heading of its own.
    pub panels: &'static [(&'static str, &'static str)],
    /// Whether a bar ten times as long means more than ten times as much.
    pub logarithmic: bool,
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
const OURS: &str = "#0b7285";
const THEIRS: &str = "#adb5bd";
const FLOOR: &str = "#dee2e6";

impl Picture {
    /// Draws it; what was not measured is left out.
    pub fn draw(&self, results: &Results) -> String {
        let mut body = String::new();
        let mut y = 40.0;
        for (row, heading) in self.panels {
            body += &text(LEFT, y, "bold", "start", heading);
            y += 10.0;
            let scale = Scale::of(results, row, self.logarithmic);
            for pool in POOLS {
                if let Some(line) = results.find(row, pool) {
                    body += &bar(pool, y, (line.low, line.median, line.high), &scale);
                    y += LINE;
                }
            }
            y += 24.0;
        }
        let height = y;
        let title = self.title;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#212529\">\n\
             <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{}{body}</svg>\n",
            text(12.0, 20.0, "bold", "start", title),
        )
    }
}

/// How long a bar is for a value.
struct Scale {
    least: f64,
    most: f64,
    logarithmic: bool,
}

impl Scale {
    fn of(results: &Results, row: &str, logarithmic: bool) -> Self {
        let lines = results.row(row);
        let most = lines.iter().map(|line| line.high).fold(0.0, f64::max);
        let least = lines.iter().map(|line| line.low).fold(most, f64::min);
        // The shortest bar must be seen, so the axis begins at a third of the least.
        Self { least: (least / 3.0).max(f64::MIN_POSITIVE), most, logarithmic }
    }

    fn length(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.least) / self.least).ln() / (self.most / self.least).ln()
        } else {
            value / self.most
        };
        if share.is_finite() { share.clamp(0.0, 1.0) * BARS } else { 0.0 }
    }
}

/// A pool's bar with its name, its value, and a thin line from the least to the greatest round.
fn bar(pool: &str, y: f64, (low, median, high): (f64, f64, f64), scale: &Scale) -> String {
    let colour = match pool {
        "millpond" => OURS,
        "floor" => FLOOR,
        _ => THEIRS,
    };
    let middle = y + LINE / 2.0;
    let [low, end, high] = [low, median, high].map(|value| LEFT + scale.length(value));
    let weight = if pool == "millpond" { "bold" } else { "normal" };
    let mut out = text(LEFT - 8.0, middle + 4.0, weight, "end", pool);
    out += &format!(
        "<rect x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/>\n",
        y + 3.0,
        end - LEFT,
        LINE - 6.0
    );
    out += &format!("<path d=\"M{low:.1} {middle}H{high:.1}\" stroke=\"#212529\" stroke-width=\"1.5\"/>\n");
    out + &text(high.max(end) + 8.0, middle + 4.0, weight, "start", &short(median))
}

fn text(x: f64, y: f64, weight: &str, anchor: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"{weight}\" text-anchor=\"{anchor}\">{words}</text>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_bar_is_as_long_as_its_value_says() {
        let scale = Scale { least: 1.0, most: 200.0, logarithmic: false };
        assert_eq!((scale.length(200.0), scale.length(50.0)), (BARS, BARS / 4.0));
    }

    #[test]
    fn a_logarithmic_bar_grows_by_the_same_for_each_factor() {
        let scale = Scale { least: 1.0, most: 100.0, logarithmic: true };
        assert!((scale.length(10.0) - BARS / 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_picture_of_nothing_is_still_a_picture() {
        for picture in PICTURES {
            let drawn = picture.draw(&Results::default());
            assert!(drawn.starts_with("<svg") && !drawn.contains("NaN"), "{drawn}");
        }
    }
}
