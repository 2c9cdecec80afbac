//! Starts servers in the directory of their kind, and returns their variables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::certificates::Certificates;
use super::children::{Children, START_MAX};
use super::kind::Kind;
use super::process::Process;
use super::run_as::RunAs;
use super::template::Template;
use super::variables::Variables;
use super::{packages, ports};

/// The time limit of a single probe of a server.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// The most attempts to start a server whose port was taken in between.
const COLLISIONS_MAX: usize = 5;

/// The directory of a kind of server, and what is needed to start it there.
#[derive(Debug)]
pub struct Workdir<'a> {
    pub children: &'a Children,
    /// The directory of this kind.
    pub home: PathBuf,
    /// Only for a kind with TLS.
    pub certificates: Option<&'a Certificates>,
    /// The data directory that its servers begin with.
    pub template: &'a Template,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    pub process: Process,
    pub port: u16,
    pub pid: u32,
}

impl Workdir<'_> {
    /// Creates a directory within this one, owned by the server's user.
    pub fn directory(&self, name: &str, user: &RunAs) -> Result<PathBuf, String> {
        let path = self.home.join(name);
        user.make_directory(&path).map(|()| path)
    }

    /// Runs a client program as the current user and returns its output.
    pub fn ask(&self, program: &str, args: &[&str]) -> Result<String, String> {
        let program = packages::find(program)?;
        let process = Process::helper(&file_name(&program), &RunAs::Current, &program, &self.home)
            .args(args.iter().copied());
        self.children.run(&process, PROBE_MAX)
    }

    /// Starts a server and waits until it answers.
    pub fn serve(
        &self,
        process: Process,
        port: u16,
        probe: impl Fn(u32) -> Result<(), String>,
    ) -> Result<Server, String> {
        let pid = self.children.start(&process)?;
        self.children.await_ready(pid, &process, START_MAX, || probe(pid))?;
        Ok(Server { process, port, pid })
    }

    /// Starts servers on free ports, and again on others if a port was taken in between.
    pub fn on_free_ports<T>(
        &self,
        count: usize,
        start: impl Fn(&[u16]) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut attempt = 1;
        loop {
            match start(&ports::free(count)?) {
                Err(why) if ports::is_collision(&why) && attempt < COLLISIONS_MAX => {
                    // Some of several servers may run.
                    self.children.end_within(&self.home);
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Starts a server on a free port, like `on_free_ports`.
    pub fn on_a_free_port<T>(&self, start: impl Fn(u16) -> Result<T, String>) -> Result<T, String> {
        self.on_free_ports(1, |ports| match ports {
            [port] => start(*port),
            _ => Err("no port was found".to_owned()),
        })
    }

    /// Returns the variables of a kind of one server: its URL, the authority of its certificate,
    /// and what a test needs to kill and restart it.
    pub fn variables_of(&self, kind: Kind, server: &Server, url: String) -> Variables {
        let mut variables = Variables::default();
        variables.add(&kind.url_variable(), url);
        if let Some(certificates) = self.certificates {
            variables.add(&format!("{}_CA", kind.stem()), certificates.authority());
        }
        server.add(&mut variables, &kind.stem());
        let Process { user, program, .. } = &server.process;
        add_program(&mut variables, user, program);
        variables
    }

    /// Returns the certificates of a kind with TLS.
    pub fn certificates(&self) -> Result<&Certificates, String> {
        self.certificates.ok_or_else(|| "the certificates were not created".to_owned())
    }
}

impl Server {
    /// Adds the variables with which a test connects to, kills and restarts it.
    pub fn add(&self, variables: &mut Variables, stem: &str) {
        variables.add(&format!("{stem}_ADDRESS"), self.address());
        variables.add(&format!("{stem}_PID"), self.pid.to_string());
        variables.add(&format!("{stem}_COMMAND"), self.process.shell_line());
        variables.add(&format!("{stem}_LOG"), self.process.log().display().to_string());
    }

    /// Returns host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Adds the path of a program and the user that it runs as, so that a test can start its own
/// server.
pub fn add_program(variables: &mut Variables, user: &RunAs, program: &Path) {
    let name = file_name(program).to_uppercase().replace('-', "_");
    variables.add(&format!("{name}_BIN"), program.display().to_string());
    if let RunAs::Other { name: user, .. } = user {
        variables.add(&format!("{name}_RUN_AS"), user.as_str());
    }
}

/// Returns the last part of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
