//! MariaDB, plain or with TLS alone. `root` needs no password.

use nix::sys::signal::Signal;

use super::kind::Kind;
use super::packages;
use super::process::Launch;
use super::run_as::Account;
use super::variables::Variables;
use super::workdir::{Site, tell_program};

/// The package's user.
const USER: &str = "mysql";

/// A server for throwing away: small files, and nothing waits for the disk.
const SETTINGS: [&str; 10] = [
    "--bind-address=127.0.0.1",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--max-connections=300",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=0",
    "--character-set-server=utf8mb4",
    "--default-time-zone=+00:00",
    "--console",
];

/// Starts it.
pub fn start(site: &Site, kind: Kind) -> Result<Variables, String> {
    let account = Account::of(USER)?;
    let home = site.directory("server", &account)?;
    let in_home = |name: &str| home.join(name).display().to_string();
    let install = packages::find("mariadb-install-db")?;
    site.mariadb.copy_to(
        &home.join("data"),
        (site.children, &site.home),
        &account,
        |home, data, temporary| {
            let launch = Launch::helper("mariadb-install-db", &account, &install, home);
            let launch = launch.args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]);
            let places = [format!("--datadir={data}"), format!("--tmpdir={temporary}")];
            Ok(launch.args(["--skip-name-resolve", "--innodb-log-file-size=16M"]).args(places))
        },
    )?;
    site.directory("server/tmp", &account)?;

    account.write(&home.join("init.sql"), "CREATE DATABASE IF NOT EXISTS millpond;\n")?;
    let socket = format!("--socket={}", in_home("socket"));
    let mut args =
        vec!["--no-defaults".to_owned(), format!("--datadir={}", in_home("data")), socket.clone()];
    // A starting MariaDB removes temporary tables from its directory for them, those of its
    // neighbours as well.
    args.push(format!("--tmpdir={}", in_home("tmp")));
    args.extend([
        format!("--pid-file={}", in_home("pid")),
        format!("--init-file={}", in_home("init.sql")),
    ]);
    args.extend(SETTINGS.map(str::to_owned));
    if kind.is_tls() {
        let [certificate, key] = site.certificates()?.install(&account, &home)?;
        args.extend([format!("--ssl-cert={certificate}"), format!("--ssl-key={key}")]);
        args.push("--require-secure-transport=ON".to_owned());
    } else {
        // Newer ones make a certificate of their own.
        args.push("--skip-ssl".to_owned());
    }

    let program = packages::find("mariadbd")?;
    let server = site.on_a_free_port(|port| {
        let launch =
            Launch::server("mariadbd", &account, &program, &site.home).args(args.iter().cloned());
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
    tell_program(&mut variables, &account, &program);
    tell_program(&mut variables, &account, &install);
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
