//! Where a server starts, how, and the variables that lead to it once it runs.

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

/// How long one question of whether it answers may take.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// How often a server is started again with another port because the first was taken meanwhile.
const COLLISIONS_MAX: usize = 5;

/// Where one kind of server starts.
#[derive(Debug)]
pub struct Workdir<'a> {
    pub children: &'a Children,
    /// The kind's own directory.
    pub home: PathBuf,
    /// Only for kinds with TLS.
    pub certificates: Option<&'a Certificates>,
    /// What every server of its make begins with.
    pub template: &'a Template,
}

/// A server that answers.
#[derive(Debug)]
pub struct Server {
    pub launch: Process,
    pub port: u16,
    pub pid: u32,
}

impl Workdir<'_> {
    /// A directory in the kind's own, owned by the server's user.
    pub fn directory(&self, name: &str, account: &RunAs) -> Result<PathBuf, String> {
        let path = self.home.join(name);
        account.make_directory(&path).map(|()| path)
    }

    /// Runs a program of the package that prepares a server or speaks to it, with our own rights.
    pub fn ask(&self, program: &str, args: &[&str]) -> Result<String, String> {
        let program = packages::find(program)?;
        let launch = Process::helper(&file_name(&program), &RunAs::Current, &program, &self.home)
            .args(args.iter().copied());
        self.children.run(&launch, PROBE_MAX)
    }

    /// Starts a server and waits until it answers.
    pub fn serve(
        &self,
        launch: Process,
        port: u16,
        probe: impl Fn(u32) -> Result<(), String>,
    ) -> Result<Server, String> {
        let pid = self.children.launch(&launch)?;
        self.children.await_ready(pid, &launch, START_MAX, || probe(pid))?;
        Ok(Server { launch, port, pid })
    }

    /// Starts something on free ports, and again on others if they were taken before it could
    /// listen there.
    pub fn on_free_ports<T>(
        &self,
        count: usize,
        start: impl Fn(&[u16]) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut attempt = 1;
        loop {
            match start(&ports::free(count)?) {
                Err(why) if ports::is_collision(&why) && attempt < COLLISIONS_MAX => {
                    // Of several servers, some may run.
                    self.children.end_within(&self.home);
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// The same for one port.
    pub fn on_a_free_port<T>(&self, start: impl Fn(u16) -> Result<T, String>) -> Result<T, String> {
        self.on_free_ports(1, |ports| match ports {
            [port] => start(*port),
            _ => Err("not one port was found".to_owned()),
        })
    }

    /// The variables of a kind that consists of this server: its URL, who signed its certificate,
    /// and what a test needs to kill it and start it again.
    pub fn variables_of(&self, kind: Kind, server: &Server, url: String) -> Variables {
        let mut variables = Variables::default();
        variables.add(&kind.url_variable(), url);
        if let Some(certificates) = self.certificates {
            variables.add(&format!("{}_CA", kind.stem()), certificates.authority());
        }
        server.add(&mut variables, &kind.stem());
        let Process { account, program, .. } = &server.launch;
        add_program(&mut variables, account, program);
        variables
    }

    /// The certificates, for a kind that was said to need them.
    pub fn certificates(&self) -> Result<&Certificates, String> {
        self.certificates.ok_or_else(|| "the certificates were not made".to_owned())
    }
}

impl Server {
    /// Adds what a test needs to reach, kill and start it again.
    pub fn add(&self, variables: &mut Variables, stem: &str) {
        variables.add(&format!("{stem}_ADDRESS"), self.address());
        variables.add(&format!("{stem}_PID"), self.pid.to_string());
        variables.add(&format!("{stem}_COMMAND"), self.launch.shell_line());
        variables.add(&format!("{stem}_LOG"), self.launch.log().display().to_string());
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Adds where a program is and, for a server, as whom it must be run; so a test can start one of
/// its own.
pub fn add_program(variables: &mut Variables, account: &RunAs, program: &Path) {
    let name = file_name(program).to_uppercase().replace('-', "_");
    variables.add(&format!("{name}_BIN"), program.display().to_string());
    if let Some(user) = account.name() {
        variables.add(&format!("{name}_RUN_AS"), user);
    }
}

/// The last part of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
