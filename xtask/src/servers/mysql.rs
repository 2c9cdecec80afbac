//! Starts MariaDB and MySQL, without TLS or only with it. `root` needs no password.

use std::path::PathBuf;

use nix::sys::signal::Signal;

use super::kind::Kind;
use super::process::Process;
use super::run_as::RunAs;
use super::variables::Variables;
use super::workdir::{Workdir, add_program, file_name};
use super::{mysql_download, packages};

/// The user that the packages of both create.
const USER: &str = "mysql";

/// Small files, and no waiting for the disk. Committed data and users survive a server that a test
/// kills.
const SETTINGS: [&str; 8] = [
    "--bind-address=127.0.0.1",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--max-connections=300",
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=2",
    "--character-set-server=utf8mb4",
    "--default-time-zone=+00:00",
];

/// Allows root to log in over TCP; MySQL itself allows it only for `localhost`.
const INIT: &str = "\
CREATE DATABASE IF NOT EXISTS millpond;
CREATE USER IF NOT EXISTS root@'127.0.0.1';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
";

/// The differences between MariaDB and MySQL.
struct Flavor {
    server: PathBuf,
    /// The program that initialises a data directory, and its arguments.
    install: PathBuf,
    initialise: &'static [&'static str],
    settings: &'static [&'static str],
    without_tls: &'static str,
}

impl Flavor {
    fn of(kind: Kind) -> Result<Self, String> {
        if kind.is_mysql() {
            let server = mysql_download::mysqld()?;
            return Ok(Self {
                install: server.clone(),
                server,
                initialise: &["--initialize-insecure", "--secure-file-priv=NULL"],
                settings: &[
                    "--innodb-redo-log-capacity=16M",
                    "--mysqlx=OFF",
                    "--secure-file-priv=NULL",
                ],
                without_tls: "--tls-version=",
            });
        }
        Ok(Self {
            server: packages::find("mariadbd")?,
            install: packages::find("mariadb-install-db")?,
            initialise: &[
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
                "--innodb-log-file-size=16M",
            ],
            settings: &["--innodb-log-file-size=16M", "--console"],
            without_tls: "--skip-ssl",
        })
    }
}

/// Starts a server and returns its variables.
pub fn start(dir: &Workdir, kind: Kind) -> Result<Variables, String> {
    let flavor = Flavor::of(kind)?;
    let user = RunAs::of(USER)?;
    let home = dir.directory("server", &user)?;
    let beside = (dir.children, dir.home.as_path());
    dir.template.copy_to(&home.join("data"), beside, &user, |home, data, temporary| {
        let process = Process::helper(&file_name(&flavor.install), &user, &flavor.install, home);
        let paths = [format!("--datadir={data}"), format!("--tmpdir={temporary}")];
        Ok(process.args(["--no-defaults"]).args(flavor.initialise.iter().copied()).args(paths))
    })?;
    dir.directory("server/tmp", &user)?;
    user.write(&home.join("init.sql"), INIT)?;

    let path = |name: &str| home.join(name).display().to_string();
    let mut args = vec!["--no-defaults".to_owned()];
    // A starting MariaDB removes all temporary tables from its directory for temporary files, those
    // of other servers as well, so each server has its own.
    for (option, file) in [
        ("datadir", "data"),
        ("socket", "socket"),
        ("tmpdir", "tmp"),
        ("pid-file", "pid"),
        ("init-file", "init.sql"),
    ] {
        args.push(format!("--{option}={}", path(file)));
    }
    args.extend(SETTINGS.iter().chain(flavor.settings).map(|&setting| setting.to_owned()));
    if kind.is_tls() {
        let [certificate, key] = dir.certificates()?.install(&user, &home)?;
        args.extend([format!("--ssl-cert={certificate}"), format!("--ssl-key={key}")]);
        args.push("--require-secure-transport=ON".to_owned());
    } else {
        // Newer versions create a certificate by themselves.
        args.push(flavor.without_tls.to_owned());
    }

    let socket = format!("--socket={}", path("socket"));
    let server = dir.on_a_free_port(|port| {
        let process = Process::server(&file_name(&flavor.server), &user, &flavor.server, &dir.home)
            .args(args.iter().cloned());
        let mut process = process.args([format!("--port={port}")]);
        // Its files are not needed afterwards, and a shutdown takes a second.
        process.stop = Signal::SIGKILL;
        // The socket is in the server's own directory, so no other server can answer, and it is
        // opened after the port.
        let probe = |_| {
            dir.ask("mariadb-admin", &["--no-defaults", &socket, "--user=root", "ping"]).map(drop)
        };
        let server = dir.serve(process, port, probe)?;
        over_tcp(dir, port).map(|()| server)
    })?;
    let url = format!("mysql://root@{}/millpond", server.address());
    let mut variables = dir.variables_of(kind, &server, url);
    add_program(&mut variables, &user, &flavor.install);
    Ok(variables)
}

/// Checks that the server answers over TCP, as the tests use it.
fn over_tcp(dir: &Workdir, port: u16) -> Result<(), String> {
    let port = format!("--port={port}");
    let authority = dir.certificates.map(|it| format!("--ssl-ca={}", it.authority()));
    let tls = match &authority {
        Some(authority) => [authority, "--ssl-verify-server-cert"].to_vec(),
        None => vec!["--skip-ssl"],
    };
    let server = ["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", &port, "--user=root"];
    dir.ask("mariadb-admin", &[&server[..], &tls, &["ping"]].concat()).map(drop)
}
