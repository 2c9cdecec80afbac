//! A server for a single test, which may kill, change and restart it.

use crate::environment::look_up;
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The prefix of all variables.
const PREFIX: &str = "MILLPOND_TEST_";

/// A server for a single test. `$MILLPOND_TEST_XTASK servers --private KIND` starts it, prints
/// variables with its address and its command, and ends it when this value is dropped or the thread
/// that created it ends. A kind of several servers (`cluster`, `sentinel`) works too; each of its
/// servers has its own stem in the variables.
///
/// Any program can take the place of xtask if it starts a server, prints `NAME='value'` lines and
/// an empty line, and ends the server when its standard input is closed.
pub struct OwnServer {
    launcher: Child,
    stem: String,
    variables: HashMap<String, String>,
    /// The server's process, once it was started again.
    again: Option<Child>,
}

impl OwnServer {
    /// Starts a server of this kind, for example `postgres` or `mariadb-tls`.
    ///
    /// # Errors
    ///
    /// Returns the reason why the server cannot be started; the test should then be skipped.
    pub fn start(kind: &str) -> Result<Self, String> {
        let stem = kind.to_uppercase().replace('-', "_");
        let xtask = look_up(&format!("{PREFIX}{stem}_URL"))
            .and_then(|_| look_up(&format!("{PREFIX}XTASK")))?;
        let mut command = Command::new(xtask);
        command.args(["servers", "--private", kind]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut launcher =
            command.spawn().map_err(|error| format!("{kind} cannot be started: {error}"))?;
        let mut variables = HashMap::new();
        for line in
            launcher.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines())
        {
            let line =
                line.map_err(|error| format!("{kind} does not report its address: {error}"))?;
            match line.split_once('=') {
                Some((name, value)) => variables.insert(name.to_owned(), unquoted(value)),
                None => break,
            };
        }
        Ok(Self { launcher, stem, variables, again: None })
    }

    /// Starts a server of this kind. If it cannot be started, returns `None` and prints a line
    /// `SKIP` with the reason; the test should then return.
    pub fn or_skip(kind: &str) -> Option<Self> {
        Self::start(kind)
            .map_err(|why| println!("SKIP a test with a server of its own: {why}"))
            .ok()
    }

    /// Returns the server's URL.
    pub fn url(&self) -> &str {
        self.own_variable("URL")
    }

    /// Returns a variable of the server; `name` is without the common prefix.
    ///
    /// # Panics
    ///
    /// If there is no such variable.
    #[track_caller]
    pub fn variable(&self, name: &str) -> &str {
        match self.variables.get(&format!("{PREFIX}{name}")) {
            Some(value) => value,
            None => panic!("no {PREFIX}{name} among {:?}", self.variables.keys()),
        }
    }

    /// Returns a variable of the server itself; `name` is without its kind, for example `PID` or
    /// `COMMAND`.
    ///
    /// # Panics
    ///
    /// As [`variable`](Self::variable).
    #[track_caller]
    pub fn own_variable(&self, name: &str) -> &str {
        self.variable(&format!("{}_{name}", self.stem))
    }

    /// Returns the value of an option in the server's command, up to the next space or to the end
    /// of a quoted word. `option` includes its separators: `" -D "`, `"--ssl-cert="`.
    ///
    /// # Panics
    ///
    /// If there is no such option.
    #[track_caller]
    pub fn option(&self, option: &str) -> &str {
        let rest = self.own_variable("COMMAND").split_once(option).map(|(_, rest)| rest);
        match rest.and_then(value_of) {
            Some(value) => value,
            None => panic!("no `{option}` in {}", self.own_variable("COMMAND")),
        }
    }

    /// Overwrites the file that an option names with the file that a variable names.
    ///
    /// # Errors
    ///
    /// Returns an error if one of the two cannot be read or written.
    pub fn replace_file(&self, option: &str, variable: &str) -> io::Result<()> {
        // Written, not copied, so that the file's owner stays the server.
        fs::write(self.option(option), fs::read(self.variable(variable))?)
    }

    /// Sends a signal (`STOP`, `CONT`, `KILL`) to the server with this stem: `CLUSTER_1`, or
    /// `REDIS` if it is the only one.
    ///
    /// # Errors
    ///
    /// Returns an error if the signal cannot be sent.
    pub fn signal(&self, stem: &str, signal: &str) -> io::Result<()> {
        let pid = self.pid(stem);
        if Command::new("kill").args([&format!("-{signal}"), &pid]).status()?.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("the server {pid} cannot be sent {signal}")))
    }

    /// Sends the server a signal that ends it, `KILL` or `INT`, and waits until it has ended.
    ///
    /// # Errors
    ///
    /// Returns an error if the signal cannot be sent.
    ///
    /// # Cancel safety
    ///
    /// The signal is not taken back.
    pub async fn stop(&mut self, signal: &str) -> io::Result<()> {
        let pid = self.pid(&self.stem);
        self.signal(&self.stem, signal)?;
        match self.again.take() {
            Some(mut child) => drop(child.wait()?),
            // Until its parent has reaped it, its process number is in use, and PostgreSQL takes it
            // for alive.
            None => {
                let process = format!("/proc/{pid}");
                while fs::exists(&process)? {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }

    /// Starts the server again on the same port and data, with additional settings. Returns before
    /// the server accepts connections.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no shell.
    pub fn start_again(&mut self, settings: &str) -> io::Result<()> {
        let command = format!(
            "exec {} {settings} >>{} 2>&1",
            self.own_variable("COMMAND"),
            self.own_variable("LOG")
        );
        self.again = Some(Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).spawn()?);
        Ok(())
    }

    /// Adds a user `limited` to a Redis server and returns the URL of that user. It gets the rights
    /// that a page of the docs lists in backticks after some words, so that a test can check the
    /// page.
    ///
    /// # Errors
    ///
    /// Returns an error if the page has no such words, or if `redis-cli` fails.
    pub fn redis_user(&self, page: &str, after: &str) -> io::Result<String> {
        let list =
            page.split_once(after).map(|(_, rest)| rest.split('`').skip(1).step_by(2).take(2));
        let list = list.ok_or_else(|| io::Error::other(format!("no `{after}` in the page")))?;
        let (_, port) = self.own_variable("ADDRESS").split_once(':').unwrap_or_default();
        let mut cli = Command::new(self.variable("REDIS_CLI_BIN"));
        cli.args(["-e", "-p", port, "ACL", "SETUSER", "limited", "on", ">word"]);
        cli.args(list.flat_map(str::split_whitespace)).stdout(Stdio::null());
        match cli.status()?.success() {
            true => Ok(self.url().replace("redis://", "redis://limited:word@")),
            false => Err(io::Error::other("redis-cli could not add the user")),
        }
    }

    fn pid(&self, stem: &str) -> String {
        let again = self.again.as_ref().filter(|_| stem == self.stem);
        again.map_or_else(
            || self.variable(&format!("{stem}_PID")).to_owned(),
            |child| child.id().to_string(),
        )
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // A server that has already ended is not an error.
        if let Some(child) = &mut self.again {
            let _ = child.kill();
            let _ = child.wait();
        }
        drop(self.launcher.stdin.take());
        let _ = self.launcher.wait();
    }
}

impl fmt::Debug for OwnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the variables: a URL may contain a password.
        f.debug_struct("OwnServer").field("stem", &self.stem).finish_non_exhaustive()
    }
}

/// Removes a shell's quotes from a value.
fn unquoted(value: &str) -> String {
    match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
        Some(quoted) => quoted.replace(r"'\''", "'"),
        None => value.to_owned(),
    }
}

/// Returns the value at the start of the rest of a shell's command, whose word may be in quotes.
fn value_of(rest: &str) -> Option<&str> {
    rest.strip_prefix('\'').unwrap_or(rest).split([' ', '\'']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_ends_at_a_space_or_a_quote() {
        let command = "mysqld '--ssl-cert=/a/cert.pem' -D /b --port=1 -k '/c'";
        let value = |option| value_of(command.split_once(option).unwrap().1);
        assert_eq!(value("--ssl-cert="), Some("/a/cert.pem"));
        assert_eq!(value(" -D "), Some("/b"));
        assert_eq!(value("--port="), Some("1"));
        assert_eq!(value(" -k "), Some("/c"));
    }
}
