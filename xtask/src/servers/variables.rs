//! What the servers are called by: names and values for the tests, and for a shell.

use std::fmt::Write as _;

/// Every variable begins with this.
pub const PREFIX: &str = "MILLPOND_TEST_";

/// Names and values in order. There is no `Debug`, because a value may hold a password.
#[derive(Default, Clone)]
pub struct Variables(Vec<(String, String)>);

impl Variables {
    /// Tells one more; the name is given without the prefix.
    pub fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((format!("{PREFIX}{name}"), value.into()));
    }

    /// Adds the variables of another set; those that are known already keep their value.
    pub fn join(&mut self, other: Self) {
        for (name, value) in other.0 {
            if !self.0.iter().any(|(known, _)| *known == name) {
                self.0.push((name, value));
            }
        }
    }

    /// The value of a name without its prefix.
    pub fn get(&self, name: &str) -> Option<&str> {
        let full = format!("{PREFIX}{name}");
        self.0.iter().find(|(known, _)| *known == full).map(|(_, value)| value.as_str())
    }

    /// Names with their prefix, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// One line for each, which a shell reads as an assignment.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.iter() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}={}", quoted(value));
        }
        text
    }
}

/// A word as a shell must read it: bare where that is safe, else between single quotes.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,@%+=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_plain_value_stands_bare_and_any_other_is_quoted() {
        let mut variables = Variables::default();
        variables.add("A_URL", "postgres://postgres@127.0.0.1:5432/millpond");
        variables.add("B_URL", "redis-cluster://127.0.0.1:1?node=127.0.0.1:2&node=127.0.0.1:3");
        variables.add("C", "");
        let lines = "MILLPOND_TEST_A_URL=postgres://postgres@127.0.0.1:5432/millpond\n\
MILLPOND_TEST_B_URL='redis-cluster://127.0.0.1:1?node=127.0.0.1:2&node=127.0.0.1:3'\n\
MILLPOND_TEST_C=''\n";
        assert_eq!(variables.lines(), lines);
    }

    #[test]
    fn a_shell_reads_back_every_printable_character() {
        let word: String = (' '..='~').collect();
        let echo = format!("printf %s {}", quoted(&word));
        let output = Command::new("sh").args(["-c", &echo]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
    }

    #[test]
    fn the_first_value_of_a_name_holds() {
        let (mut first, mut second) = (Variables::default(), Variables::default());
        first.add("A", "1");
        second.add("A", "2");
        second.add("B", "3");
        first.join(second);
        assert_eq!((first.get("A"), first.get("B"), first.get("C")), (Some("1"), Some("3"), None));
    }
}
