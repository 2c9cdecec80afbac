//! Starts PostgreSQL, without TLS or only with it.
//!
//! `postgres` needs no password; every role that a test creates needs one.

use nix::sys::signal::Signal;

use super::kind::Kind;
use super::packages;
use super::process::Process;
use super::run_as::RunAs;
use super::variables::Variables;
use super::workdir::{Workdir, add_program};

/// The user that the package creates; Debian uses it for PgBouncer too.
pub const USER: &str = "postgres";

/// No waiting for the disk, and shared memory in the data directory, so that a killed server leaves
/// nothing elsewhere.
const SETTINGS: &str = "listen_addresses=127.0.0.1 unix_socket_directories= max_connections=300 \
    fsync=off synchronous_commit=off full_page_writes=off max_wal_size=256MB shared_buffers=64MB \
    dynamic_shared_memory_type=mmap max_worker_processes=4 max_parallel_workers=2 timezone=UTC";

/// Starts a server and returns its variables.
pub fn start(dir: &Workdir, kind: Kind) -> Result<Variables, String> {
    let user = RunAs::of(USER)?;
    let initdb = packages::find("initdb")?;
    let directory = dir.home.join("data");
    dir.template.copy_to(&directory, (dir.children, &dir.home), &user, |home, data, _| {
        // Not a helper, which would be killed: the server that initdb runs must release its memory
        // in /dev/shm.
        let process = Process::server("initdb", &user, &initdb, home);
        let args = "-U postgres -A trust --no-sync --no-instructions --locale=C -E UTF8";
        Ok(process.args(["-D", data]).args(args.split(' ')))
    })?;
    let data = directory.display().to_string();

    let mut settings: Vec<String> = SETTINGS.split(' ').map(str::to_owned).collect();
    settings.push("log_line_prefix=%m [%p] %u@%d ".to_owned());
    let rules = dir.home.join("pg_hba.conf");
    let transport = if kind.is_tls() { "hostssl" } else { "host" };
    let addresses = "127.0.0.1/32";
    let trusted = format!("{transport} all postgres {addresses} trust\n");
    user.write(&rules, format!("{trusted}{transport} all all {addresses} scram-sha-256\n"))?;
    settings.push(format!("hba_file={}", rules.display()));
    if kind.is_tls() {
        let [certificate, key] = dir.certificates()?.install(&user, &dir.home)?;
        let files = [format!("ssl_cert_file={certificate}"), format!("ssl_key_file={key}")];
        settings.extend(["ssl=on".to_owned()].into_iter().chain(files));
    }

    let program = packages::find("postgres")?;
    let server = dir.on_a_free_port(|port| {
        let port_text = port.to_string();
        let mut process = Process::server("postgres", &user, &program, &dir.home)
            .args(["-D", &data, "-p", &port_text]);
        for setting in &settings {
            process = process.args(["-c", setting]);
        }
        // On `TERM` it would wait for its clients to disconnect.
        process.stop = Signal::SIGINT;
        dir.serve(process, port, |_| answers(dir, kind, port, &data))
    })?;
    let url = format!("postgres://postgres@{}", server.address());
    query(dir, kind, &format!("{url}/postgres"), "CREATE DATABASE millpond")?;
    let mut variables = dir.variables_of(kind, &server, format!("{url}/millpond"));
    add_program(&mut variables, &user, &initdb);
    Ok(variables)
}

/// Runs a statement with psql.
pub fn query(dir: &Workdir, kind: Kind, url: &str, sql: &str) -> Result<String, String> {
    let target = match kind.is_tls() {
        true => format!("verify-full&sslrootcert={}", dir.certificates()?.authority()),
        false => "disable".to_owned(),
    };
    let target = format!("{url}?sslmode={target}");
    dir.ask("psql", &["-X", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-c", sql, &target])
}

/// Returns an error unless this server answers at the port, not another that took it.
fn answers(dir: &Workdir, kind: Kind, port: u16, data: &str) -> Result<(), String> {
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let answer = query(dir, kind, &url, "SHOW data_directory")?;
    if answer.trim() == data {
        Ok(())
    } else {
        Err(format!("another server answers at port {port}"))
    }
}
