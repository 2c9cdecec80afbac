//! Starts Redis: one server, without a password, with one, or only with TLS; and the base of
//! Sentinel and Cluster.

use super::kind::Kind;
use super::packages;
use super::process::Process;
use super::run_as::RunAs;
use super::variables::Variables;
use super::workdir::{Server, Workdir, add_program};

/// The user that the package creates.
const USER: &str = "redis";

/// The password of [`Kind::RedisPassword`].
const PASSWORD: &str = "millpond";

/// Nothing is saved, a replica gets its copy at once, and a shutdown does not wait.
const SETTINGS: &str = "--bind 127.0.0.1 --protected-mode no --daemonize no --appendonly no \
    --repl-diskless-sync-delay 0 --shutdown-timeout 0";

/// Starts a single server and returns its variables.
pub fn start(dir: &Workdir, kind: Kind) -> Result<Variables, String> {
    let user = RunAs::of(USER)?;
    let (scheme, login, port, args) = match kind {
        Kind::RedisTls => {
            let [certificate, key] = dir.certificates()?.install(&user, &dir.home)?;
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
        let process = redis_process(dir, &user, "redis")?.args(args.iter().cloned()).args(listen);
        dir.serve(process, number, |pid| answers(dir, kind, number, pid))
    })?;
    let url = format!("{scheme}://{login}{}/0", server.address());
    let mut variables = dir.variables_of(kind, &server, url);
    add_client(&mut variables)?;
    Ok(variables)
}

/// Starts a server of a Sentinel or Cluster, in its own directory.
pub fn member(dir: &Workdir, name: &str, port: u16, args: &str) -> Result<Server, String> {
    let user = RunAs::of(USER)?;
    let number = port.to_string();
    let process =
        redis_process(dir, &user, name)?.args(["--port", &number]).args(args.split_whitespace());
    dir.serve(process, port, |pid| answers(dir, Kind::Redis, port, pid))
}

/// Sends a command to the server at a port with redis-cli.
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

/// Returns an error unless the answer to a command contains all of these words.
pub fn expect(dir: &Workdir, port: u16, question: &[&str], words: &[&str]) -> Result<(), String> {
    let answer = ask(dir, Kind::Redis, port, question)?;
    match words.iter().find(|word| !answer.contains(**word)) {
        None => Ok(()),
        Some(word) => Err(format!("no `{word}` in the answer of port {port}: {}", answer.trim())),
    }
}

/// Returns the variables of a kind of several servers. Its URL has the first server between
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
        add_program(&mut variables, &server.process.user, &server.process.program);
    }
    add_client(&mut variables)?;
    Ok(variables)
}

/// Adds the path of redis-cli.
fn add_client(variables: &mut Variables) -> Result<(), String> {
    variables.add("REDIS_CLI_BIN", packages::find("redis-cli")?.display().to_string());
    Ok(())
}

/// Returns the user that Redis runs as.
pub fn user() -> Result<RunAs, String> {
    RunAs::of(USER)
}

fn redis_process(dir: &Workdir, user: &RunAs, name: &str) -> Result<Process, String> {
    let home = dir.directory(name, user)?;
    let directory = home.display().to_string();
    let process = Process::server(name, user, &packages::find("redis-server")?, &home);
    Ok(process.args(["--dir", &directory, "--save", ""]).args(SETTINGS.split(' ')))
}

/// Returns an error unless this process answers at the port, not another that took it.
fn answers(dir: &Workdir, kind: Kind, port: u16, pid: u32) -> Result<(), String> {
    let answer = ask(dir, kind, port, &["INFO", "server"])?;
    let is_this = answer.lines().any(|line| line.trim_end() == format!("process_id:{pid}"));
    let other = || format!("another server answers at port {port}: {}", answer.trim());
    is_this.then_some(()).ok_or_else(other)
}
