//! Runs the binary in a temporary directory, without the settings variables of the environment.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A temporary directory that is the working directory and holds temporary files; removed on drop.
pub struct Sandbox {
    path: PathBuf,
}

impl Sandbox {
    pub fn new() -> Self {
        let path = env::temp_dir().join(format!("millpond-cli-{:x}", fastrand::u64(..)));
        fs::create_dir_all(path.join("tmp")).unwrap();
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path.join(name), content).unwrap();
    }

    /// Returns the temporary files that the program has left behind.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        fs::read_dir(self.path.join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Returns the program with these arguments, ready to run.
    pub fn millpond(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        command
            .args(arguments)
            .current_dir(&self.path)
            .env("TMPDIR", self.path.join("tmp"))
            .stdin(Stdio::null());
        for (name, _) in env::vars_os()
            .filter(|(name, _)| name.to_string_lossy().to_uppercase().starts_with("PSN"))
        {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::from(self.millpond(arguments).output().unwrap())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The result of a finished run.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// Returns everything that was printed.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    #[track_caller]
    pub fn assert_code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{self:?}");
    }

    /// Parses standard output as the single JSON object that it must be.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}
