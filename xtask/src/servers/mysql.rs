//! MariaDB and MySQL, plain or with TLS alone. `root` needs no password.

use std::path::PathBuf;

use nix::sys::signal::Signal;

use super::kind::Kind;
use super::process::Launch;
use super::run_as::Account;
use super::template::Template;
use super::variables::Variables;
use super::workdir::{Site, file_name, tell_program};
use super::{packages, unstable};

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
struct Make<'a> {
    server: PathBuf,
    /// The program that fills a data directory, and its arguments.
    install: PathBuf,
    initialise: &'static [&'static str],
    settings: &'static [&'static str],
    without_tls: &'static str,
    template: &'a Template,
}

impl<'a> Make<'a> {
    fn of(kind: Kind, site: &'a Site) -> Result<Self, String> {
        if kind.is_mysql() {
            let server = unstable::mysqld()?;
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
                template: site.mysql,
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
            template: site.mariadb,
        })
    }
}

/// Starts it.
pub fn start(site: &Site, kind: Kind) -> Result<Variables, String> {
    let make = Make::of(kind, site)?;
    let account = Account::of(USER)?;
    let home = site.directory("server", &account)?;
    let beside = (site.children, site.home.as_path());
    make.template.copy_to(&home.join("data"), beside, &account, |home, data, temporary| {
        let launch = Launch::helper(&file_name(&make.install), &account, &make.install, home);
        let places = [format!("--datadir={data}"), format!("--tmpdir={temporary}")];
        Ok(launch.args(["--no-defaults"]).args(make.initialise.iter().copied()).args(places))
    })?;
    site.directory("server/tmp", &account)?;
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
    args.extend(SETTINGS.iter().chain(make.settings).map(|&setting| setting.to_owned()));
    if kind.is_tls() {
        let [certificate, key] = site.certificates()?.install(&account, &home)?;
        args.extend([format!("--ssl-cert={certificate}"), format!("--ssl-key={key}")]);
        args.push("--require-secure-transport=ON".to_owned());
    } else {
        // Newer ones make a certificate of their own.
        args.push(make.without_tls.to_owned());
    }

    let socket = format!("--socket={}", path("socket"));
    let server = site.on_a_free_port(|port| {
        let launch = Launch::server(&file_name(&make.server), &account, &make.server, &site.home)
            .args(args.iter().cloned());
        let mut launch = launch.args([format!("--port={port}")]);
        // In order it ends in a second; at once it leaves nothing either, but files that are thrown
        // away.
        launch.stop = Signal::SIGKILL;
        // The socket lies in our directory, so it is this server that answers; and it opens the
        // socket after the port.
        let probe = |_| {
            site.ask("mariadb-admin", &["--no-defaults", &socket, "--user=root", "ping"]).map(drop)
        };
        let server = site.serve(launch, port, probe)?;
        over_tcp(site, kind, port).map(|()| server)
    })?;
    let mut variables = Variables::default();
    variables.tell(&kind.url_variable(), format!("mysql://root@{}/millpond", server.address()));
    site.tell_authority(&mut variables, kind);
    server.tell(&mut variables, &kind.stem());
    tell_program(&mut variables, &account, &make.server);
    tell_program(&mut variables, &account, &make.install);
    Ok(variables)
}

/// The way the tests come.
fn over_tcp(site: &Site, kind: Kind, port: u16) -> Result<(), String> {
    let port = format!("--port={port}");
    let mut args =
        vec!["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", &port, "--user=root"];
    let authority = if kind.is_tls() {
        format!("--ssl-ca={}", site.certificates()?.authority())
    } else {
        String::new()
    };
    match kind.is_tls() {
        true => args.extend([authority.as_str(), "--ssl-verify-server-cert"]),
        false => args.push("--skip-ssl"),
    }
    args.push("ping");
    site.ask("mariadb-admin", &args).map(drop)
}
