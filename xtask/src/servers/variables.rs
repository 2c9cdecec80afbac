//! What the servers are called by: names and values for the tests, and for a shell.

use std::collections::BTreeMap;

/// Every variable begins with this.
pub const PREFIX: &str = "MILLPOND_TEST_";

/// Names and values. There is no `Debug`, because a value may hold a password.
#[derive(Default, Clone)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Adds one more; the name is given without the prefix.
    pub fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(format!("{PREFIX}{name}"), value.into());
    }

    /// Adds the variables of another set; those that are known already keep their value.
    pub fn join(&mut self, other: Self) {
        let known = std::mem::replace(&mut self.0, other.0);
        self.0.extend(known);
    }

    /// The value of a name without its prefix.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(&format!("{PREFIX}{name}")).map(String::as_str)
    }

    /// Names with their prefix, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// One line for each, which a shell reads as an assignment.
    pub fn lines(&self) -> String {
        self.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect()
    }
}

/// A word as a shell must read it: bare where that is safe, else in quotes.
pub fn quoted(word: &str) -> String {
    match shlex::try_quote(word) {
        Ok(bare) if bare == word => word.to_owned(),
        // In single quotes, which is what the testkit reads.
        _ => format!("'{}'", word.replace('\'', r"'\''")),
    }
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
