//! Malformed text for parsers: well-formed text, cut, doubled, escaped and mixed, from a seed.

use fastrand::Rng;

/// Pieces that parsers often mishandle.
const STUMBLES: [&str; 44] = [
    "",
    " ",
    "/",
    "//",
    "://",
    ":",
    "@",
    "?",
    "&",
    "=",
    "#",
    "%",
    "%25",
    "%2",
    "%zz",
    "%00",
    "%ff",
    "%c3%bc",
    "+",
    ",",
    ";",
    "'",
    "\"",
    "\\",
    "[",
    "]",
    "[::1]",
    "{",
    "}",
    "\0",
    "\n",
    "\t",
    "é",
    "\u{feff}",
    "\u{202e}",
    "𝄞",
    "0",
    "-1",
    "65536",
    "18446744073709551616",
    "1e30",
    "NaN",
    "true",
    "..",
];

/// Generates text for parsers, the same for the same seed. For tests that a parser never panics,
/// prints no secret, and accepts only valid input.
///
/// ```
/// use millpond_testkit::Garbler;
///
/// let mut garbler = Garbler::new(1);
/// for _ in 0..1_000 {
///     let text = garbler.line("12\n007\n-3\n");
///     if let Ok(number) = text.parse::<i64>() {
///         assert_eq!(number.to_string().parse(), Ok(number));
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Garbler {
    dice: Rng,
}

impl Garbler {
    /// Creates a generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self { dice: Rng::with_seed(seed) }
    }

    /// Returns a random element, or an empty string if there are none.
    pub fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        if of.is_empty() { "" } else { of[self.dice.usize(..of.len())] }
    }

    /// Returns a word of up to this many pieces: letters, digits, and pieces that parsers often
    /// mishandle.
    pub fn word(&mut self, pieces: usize) -> String {
        let mut word = String::new();
        for _ in 0..self.dice.usize(0..=pieces) {
            match self.dice.u32(0..4) {
                0 => word.push(self.dice.char(..)),
                1 => word.push_str(self.pick(&STUMBLES)),
                _ => word.push(self.dice.alphanumeric()),
            }
        }
        word
    }

    /// Returns a random line of the corpus with up to four random changes.
    pub fn line(&mut self, corpus: &str) -> String {
        let lines: Vec<&str> = corpus.lines().filter(|line| !line.is_empty()).collect();
        let mut text: Vec<char> = self.pick(&lines).chars().collect();
        for _ in 0..self.dice.usize(0..5) {
            let other: Vec<char> = self.pick(&lines).chars().collect();
            self.change(&mut text, &other);
        }
        text.into_iter().collect()
    }

    fn change(&mut self, text: &mut Vec<char>, other: &[char]) {
        let (start, end) = self.span(text.len());
        match self.dice.u32(0..6) {
            0 => drop(text.drain(start..end)),
            1 => {
                let twice = text[start..end].to_vec();
                text.splice(start..start, twice);
            }
            2 => {
                let (from, to) = self.span(other.len());
                text.splice(start..end, other[from..to].iter().copied());
            }
            3 => {
                let escaped: String =
                    text[start..end].iter().collect::<String>().bytes().map(escape).collect();
                text.splice(start..end, escaped.chars());
            }
            4 => text[start..end].iter_mut().for_each(|letter| letter.make_ascii_uppercase()),
            _ => {
                let word = self.word(2);
                text.splice(start..start, word.chars());
            }
        }
    }

    fn span(&mut self, length: usize) -> (usize, usize) {
        let start = self.dice.usize(0..=length);
        (start, self.dice.usize(start..=length))
    }
}

fn escape(byte: u8) -> String {
    format!("%{byte:02X}")
}
