//! MariaDB and MySQL, plain or with TLS alone. `root` needs no password.

use std::path::PathBuf;

use nix::sys::signal::Signal;

use super::kind::Kind;
use super::process::Process;
use super::run_as::RunAs;
use super::variables::Variables;
use super::workdir::{Workdir, add_program, file_name};
use super::{mysql_download, packages};

/// The user that the packages of both make.
const USER: &str = "mysql";

/// A server for throwing away: small files, and nothing waits for the disk. What was committed
/// outlives a server that a test kills, its users too.
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

/// Lets root in over TCP, where MySQL knows it as `localhost` alone.
const INIT: &str = "\
CREATE DATABASE IF NOT EXISTS millpond;
CREATE USER IF NOT EXISTS root@'127.0.0.1';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
";

/// What the two makes of server have each in their own way.
struct Flavor {
    server: PathBuf,
    /// The program that fills a data directory, and its arguments.
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

/// Starts it.
pub fn start(dir: &Workdir, kind: Kind) -> Result<Variables, String> {
    let flavor = Flavor::of(kind)?;
    let account = RunAs::of(USER)?;
    let home = dir.directory("server", &account)?;
    let beside = (dir.children, dir.home.as_path());
    dir.template.copy_to(&home.join("data"), beside, &account, |home, data, temporary| {
        let launch = Process::helper(&file_name(&flavor.install), &account, &flavor.install, home);
        let places = [format!("--datadir={data}"), format!("--tmpdir={temporary}")];
        Ok(launch.args(["--no-defaults"]).args(flavor.initialise.iter().copied()).args(places))
    })?;
    dir.directory("server/tmp", &account)?;
    account.write(&home.join("init.sql"), INIT)?;

    let path = |name: &str| home.join(name).display().to_string();
    let mut args = vec!["--no-defaults".to_owned()];
    // A starting MariaDB removes temporary tables from its directory for them, those of its
    // neighbours as well.
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
        let [certificate, key] = dir.certificates()?.install(&account, &home)?;
        args.extend([format!("--ssl-cert={certificate}"), format!("--ssl-key={key}")]);
        args.push("--require-secure-transport=ON".to_owned());
    } else {
        // Newer ones make a certificate of their own.
        args.push(flavor.without_tls.to_owned());
    }

    let socket = format!("--socket={}", path("socket"));
    let server = dir.on_a_free_port(|port| {
        let launch =
            Process::server(&file_name(&flavor.server), &account, &flavor.server, &dir.home)
                .args(args.iter().cloned());
        let mut launch = launch.args([format!("--port={port}")]);
        // In order it ends in a second; at once it leaves nothing either, but files that are thrown
        // away.
        launch.stop = Signal::SIGKILL;
        // The socket lies in our directory, so it is this server that answers; and it opens the
        // socket after the port.
        let probe = |_| {
            dir.ask("mariadb-admin", &["--no-defaults", &socket, "--user=root", "ping"]).map(drop)
        };
        let server = dir.serve(launch, port, probe)?;
        over_tcp(dir, port).map(|()| server)
    })?;
    let url = format!("mysql://root@{}/millpond", server.address());
    let mut variables = dir.variables_of(kind, &server, url);
    add_program(&mut variables, &account, &flavor.install);
    Ok(variables)
}

/// Checks that the server answers as the tests reach it.
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
