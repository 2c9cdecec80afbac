//! A server of a test's own, which it may kill, change and start again.

use crate::support::{Server, variable};
use sqlx::{Connection, PgConnection};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

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
        let (kind, stem) = if tls { ("postgres-tls", "POSTGRES_TLS") } else { ("postgres", "POSTGRES") };
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

    pub fn server(&self) -> Server {
        Server { url: self.own("URL").to_owned() }
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
        for (option, file) in [("ssl_cert_file=", "CERT"), ("ssl_key_file=", "KEY")] {
            let (_, place) = self.own("COMMAND").split_once(option).unwrap();
            let content = fs::read(self.told(&format!("{name}_{file}"))).unwrap();
            // Written, not copied: the file remains the server's.
            fs::write(place.split(' ').next().unwrap(), content).unwrap();
        }
    }

    /// Its data directory.
    pub fn data(&self) -> &str {
        self.own("COMMAND").split_once(" -D ").unwrap().1.split(' ').next().unwrap()
    }

    /// Sends it a signal: `KILL`, or `INT` for a fast shutdown.
    pub fn signal(&mut self, signal: &str) {
        let pid = self.again.as_ref().map_or_else(|| self.own("PID").to_owned(), |child| child.id().to_string());
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }

    /// Starts it again, on its port and data, when the one before has ended. Sets settings for this time.
    pub async fn start_again(&mut self, settings: &str) {
        match self.again.take() {
            Some(mut child) => drop(child.wait().unwrap()),
            None => {
                let process = format!("/proc/{}", self.own("PID"));
                // Until its parent has collected it, it is there as a zombie, which holds nothing.
                let gone = || fs::read_to_string(format!("{process}/stat")).map_or(true, |stat| stat.contains(") Z "));
                while !gone() {
                    tokio::task::yield_now().await;
                }
            }
        }
        let command = format!("exec {} {settings} 2>>{}", self.own("COMMAND"), self.own("LOG"));
        self.again = Some(Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).spawn().unwrap());
    }

    /// Waits until it accepts connections.
    pub async fn accepts(&self) -> PgConnection {
        loop {
            if let Ok(conn) = PgConnection::connect(self.own("URL")).await {
                return conn;
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
