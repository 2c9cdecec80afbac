//! Redis: one server, plain, with a password, or with TLS alone; and what Sentinel and Cluster
//! build on.

use super::kind::Kind;
use super::packages;
use super::process::Process;
use super::run_as::RunAs;
use super::variables::Variables;
use super::workdir::{Server, Workdir, add_program};

/// The package's user.
const USER: &str = "redis";

/// What the one with a password wants to hear.
const PASSWORD: &str = "millpond";

/// A server for throwing away: nothing is saved, a replica gets its copy at once, and nobody is
/// waited for at the end.
const SETTINGS: &str = "--bind 127.0.0.1 --protected-mode no --daemonize no --appendonly no \
    --repl-diskless-sync-delay 0 --shutdown-timeout 0";

/// Starts a single one.
pub fn start(dir: &Workdir, kind: Kind) -> Result<Variables, String> {
    let account = RunAs::of(USER)?;
    let (scheme, user, port, args) = match kind {
        Kind::RedisTls => {
            let [certificate, key] = dir.certificates()?.install(&account, &dir.home)?;
            let files =
                ["--tls-cert-file".to_owned(), certificate, "--tls-key-file".to_owned(), key];
            let others = ["--tls-auth-clients", "no", "--port", "0"].map(str::to_owned);
            ("rediss", "", "--tls-port", [files, others].concat())
        }
        Kind::RedisPassword => {
            let args = ["--requirepass", PASSWORD].map(str::to_owned).to_vec();
            ("redis", "default:millpond@", "--port", args)
        }
        _ => ("redis", "", "--port", Vec::new()),
    };
    let server = dir.on_a_free_port(|number| {
        let listen = [port.to_owned(), number.to_string()];
        let launch = launch(dir, &account, "redis")?.args(args.iter().cloned()).args(listen);
        dir.serve(launch, number, |pid| answers(dir, kind, number, pid))
    })?;
    let url = format!("{scheme}://{user}{}/0", server.address());
    let mut variables = dir.variables_of(kind, &server, url);
    add_client(&mut variables)?;
    Ok(variables)
}

/// Starts one as part of something larger, in a directory of its own.
pub fn member(dir: &Workdir, name: &str, port: u16, args: &str) -> Result<Server, String> {
    let account = RunAs::of(USER)?;
    let number = port.to_string();
    let launch =
        launch(dir, &account, name)?.args(["--port", &number]).args(args.split_whitespace());
    dir.serve(launch, port, |pid| answers(dir, Kind::Redis, port, pid))
}

/// Asks the server at a port by Redis' own client.
pub fn ask(dir: &Workdir, kind: Kind, port: u16, words: &[&str]) -> Result<String, String> {
    let port = port.to_string();
    let authority = if kind.is_tls() { dir.certificates()?.authority() } else { String::new() };
    let mut args = vec!["-h", "127.0.0.1", "-p", &port];
    match kind {
        Kind::RedisTls => args.extend(["--tls", "--cacert", &authority]),
        Kind::RedisPassword => args.extend(["--no-auth-warning", "-a", PASSWORD]),
        _ => {}
    }
    args.extend(words);
    dir.ask("redis-cli", &args)
}

/// Whether a kind's answer holds all of these words.
pub fn says(dir: &Workdir, port: u16, question: &[&str], words: &[&str]) -> Result<(), String> {
    let said = ask(dir, Kind::Redis, port, question)?;
    match words.iter().find(|word| !said.contains(**word)) {
        None => Ok(()),
        Some(word) => {
            Err(format!("the server at port {port} does not say `{word}` but: {}", said.trim()))
        }
    }
}

/// The variables of a kind that consists of these servers. Its URL names the first one between
/// `scheme` and `path`, and the others as parameters.
pub fn variables_of_group(
    kind: Kind,
    servers: &[Server],
    scheme: &str,
    path: &str,
) -> Result<Variables, String> {
    let mut variables = Variables::default();
    let addresses: Vec<String> = servers.iter().map(Server::address).collect();
    let (first, others) = addresses.split_first().ok_or("no server was started")?;
    let others: Vec<String> = others.iter().map(|address| format!("node={address}")).collect();
    let url = format!("{scheme}://{first}{path}{}", others.join("&"));
    variables.add(&kind.url_variable(), url);
    variables.add(&format!("{}_NODES", kind.stem()), addresses.join(","));
    for (number, server) in (1..).zip(servers) {
        server.add(&mut variables, &format!("{}_{number}", kind.stem()));
        add_program(&mut variables, &server.launch.account, &server.launch.program);
    }
    add_client(&mut variables)?;
    Ok(variables)
}

/// Adds where Redis' own client is.
fn add_client(variables: &mut Variables) -> Result<(), String> {
    variables.add("REDIS_CLI_BIN", packages::find("redis-cli")?.display().to_string());
    Ok(())
}

/// The user that Redis runs as.
pub fn account() -> Result<RunAs, String> {
    RunAs::of(USER)
}

fn launch(dir: &Workdir, account: &RunAs, name: &str) -> Result<Process, String> {
    let home = dir.directory(name, account)?;
    let directory = home.display().to_string();
    let launch = Process::server(name, account, &packages::find("redis-server")?, &home);
    Ok(launch.args(["--dir", &directory, "--save", ""]).args(SETTINGS.split(' ')))
}

/// Whether it is this process that answers at the port, and no other that took it.
fn answers(dir: &Workdir, kind: Kind, port: u16, pid: u32) -> Result<(), String> {
    let said = ask(dir, kind, port, &["INFO", "server"])?;
    let is_it = said.lines().any(|line| line.trim_end() == format!("process_id:{pid}"));
    if is_it { Ok(()) } else { Err(format!("port {port} is answered by another: {}", said.trim())) }
}
