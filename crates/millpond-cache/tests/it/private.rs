//! A server of a test's own, to be stopped.

use crate::support::variable;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Servers of one kind that belong to one test.
pub struct Private {
    /// The one that keeps them; it ends them when its standard input closes.
    keeper: Child,
    variables: HashMap<String, String>,
}

impl Private {
    /// Starts them, or says why the test is skipped.
    pub fn start(kind: &str) -> Option<Self> {
        let xtask = variable("MILLPOND_TEST_XTASK")?;
        let mut keeper = Command::new(xtask)
            .args(["servers", "--private", kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(keeper.stdout.take().unwrap()).lines().map(Result::unwrap);
        let pairs = lines.take_while(|line| !line.is_empty());
        let variables =
            pairs.filter_map(|line| line.split_once('=').map(|(a, b)| (a.to_owned(), unquoted(b)))).collect();
        Some(Self { keeper, variables })
    }

    pub fn variable(&self, name: &str) -> &str {
        self.variables
            .get(&format!("MILLPOND_TEST_{name}"))
            .unwrap_or_else(|| panic!("no {name}: {:?}", self.variables))
    }

    /// Sends a signal to the process of this stem.
    pub fn signal(&self, stem: &str, signal: &str) {
        let pid = self.variable(&format!("{stem}_PID"));
        assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
    }
}

/// The value as a shell would read it.
fn unquoted(text: &str) -> String {
    match text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        Some(text) => text.replace("'\\''", "'"),
        None => text.to_owned(),
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
