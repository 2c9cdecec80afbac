//! The variables with which tests find the servers.

use std::collections::BTreeMap;

/// The prefix of every variable.
pub const PREFIX: &str = "MILLPOND_TEST_";

/// Names and values. There is no `Debug`, because a value may contain a password.
#[derive(Default, Clone)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Adds a variable; the name is given without the prefix.
    pub fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(format!("{PREFIX}{name}"), value.into());
    }

    /// Adds other variables; those that exist already keep their value.
    pub fn join(&mut self, other: Self) {
        let existing = std::mem::replace(&mut self.0, other.0);
        self.0.extend(existing);
    }

    /// Returns the value of a name, which is given without the prefix.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(&format!("{PREFIX}{name}")).map(String::as_str)
    }

    /// Returns the names with their prefix, and the values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns a line for each, which a shell reads as an assignment.
    pub fn lines(&self) -> String {
        self.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect()
    }
}

/// Quotes a word for a shell if necessary.
pub fn quoted(word: &str) -> String {
    match shlex::try_quote(word) {
        Ok(bare) if bare == word => word.to_owned(),
        // In single quotes, as the testkit expects.
        _ => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_value_is_quoted_only_if_necessary() {
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
    fn a_joined_variable_keeps_its_first_value() {
        let (mut first, mut second) = (Variables::default(), Variables::default());
        first.add("A", "1");
        second.add("A", "2");
        second.add("B", "3");
        first.join(second);
        assert_eq!((first.get("A"), first.get("B"), first.get("C")), (Some("1"), Some("3"), None));
    }
}
