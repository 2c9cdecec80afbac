//! A server of a test's own, which it may kill, change and start again.

use crate::support::variable;
use sqlx::{Connection, MySqlConnection};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to start again.
const START_MAX: Duration = Duration::from_secs(60);

/// Ends with the value, and with the thread that made it.
pub struct Private {
    xtask: Child,
    stem: &'static str,
    variables: HashMap<String, String>,
    /// The server, once it was started again.
    again: Option<Child>,
}

impl Private {
    /// Starts one with or without TLS, or `None` where there is none to be had.
    pub fn start(tls: bool) -> Option<Self> {
        let (kind, stem) = if tls { ("mariadb-tls", "MARIADB_TLS") } else { ("mariadb", "MARIADB") };
        variable(&format!("MILLPOND_TEST_{stem}_URL"))?;
        let mut command = Command::new(variable("MILLPOND_TEST_XTASK")?);
        command.args(["servers", "--private", kind]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut xtask = command.spawn().unwrap();
        let lines = BufReader::new(xtask.stdout.take().unwrap()).lines().map(Result::unwrap);
        let lines = lines.take_while(|line| !line.is_empty());
        let variables =
            lines.filter_map(|line| line.split_once('=').map(|(name, value)| (name.into(), unquote(value))));
        Some(Self { variables: variables.collect(), stem, xtask, again: None })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.own("URL")
    }

    /// What xtask has told, without the prefix.
    pub fn told(&self, name: &str) -> &str {
        &self.variables[&format!("MILLPOND_TEST_{name}")]
    }

    fn own(&self, name: &str) -> &str {
        self.told(&format!("{}_{name}", self.stem))
    }

    /// Puts another certificate in the place of the server's own, by the name that xtask gives it.
    pub fn replace_certificate(&self, name: &str) {
        for (option, file) in [("--ssl-cert=", "CERT"), ("--ssl-key=", "KEY")] {
            let (_, place) = self.own("COMMAND").split_once(option).unwrap();
            let content = fs::read(self.told(&format!("{name}_{file}"))).unwrap();
            // Written, not copied: the file remains the server's.
            fs::write(place.split(' ').next().unwrap(), content).unwrap();
        }
    }

    /// Kills it and waits until it is gone.
    pub async fn kill(&mut self) {
        match self.again.take() {
            Some(mut child) => {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            None => {
                let pid = self.own("PID");
                assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
                let status = format!("/proc/{pid}/stat");
                // Until its parent has collected it, it is there as a zombie, which holds nothing.
                while fs::read_to_string(&status).is_ok_and(|status| !status.contains(") Z ")) {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Starts it again, on its port and data, with more settings for this time.
    pub fn start_again(&mut self, settings: &str) {
        let command = format!("exec {} {settings} 2>>{}", self.own("COMMAND"), self.own("LOG"));
        self.again = Some(Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).spawn().unwrap());
    }

    /// Waits until it accepts connections.
    pub async fn accepts(&self) -> MySqlConnection {
        let begun = Instant::now();
        loop {
            match MySqlConnection::connect(self.url()).await {
                Ok(conn) => return conn,
                Err(error) => {
                    assert!(begun.elapsed() < START_MAX, "it does not start: {error}; see {}", self.own("LOG"))
                }
            }
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Some(child) = &mut self.again {
            let _ = child.kill();
            let _ = child.wait();
        }
        drop(self.xtask.stdin.take());
        let _ = self.xtask.wait();
    }
}

/// A value as a shell would read it.
fn unquote(value: &str) -> String {
    match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
        Some(quoted) => quoted.replace(r"'\''", "'"),
        None => value.to_owned(),
    }
}
