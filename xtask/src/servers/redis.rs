//! Redis: one server, plain, with a password, or with TLS alone; and what Sentinel and Cluster
//! build on.

use super::kind::Kind;
use super::packages;
use super::process::Launch;
use super::run_as::Account;
use super::variables::Variables;
use super::workdir::{Server, Site, tell_program};

/// The package's user.
const USER: &str = "redis";

/// What the one with a password wants to hear.
const PASSWORD: &str = "millpond";

/// A server for throwing away: nothing is saved, a replica gets its copy at once, and nobody is
/// waited for at the end.
const SETTINGS: &str = "--bind 127.0.0.1 --protected-mode no --daemonize no --appendonly no \
    --repl-diskless-sync-delay 0 --shutdown-timeout 0";

/// Starts a single one.
pub fn start(site: &Site, kind: Kind) -> Result<Variables, String> {
    let account = Account::of(USER)?;
    let (scheme, user, port, args) = match kind {
        Kind::RedisTls => {
            let [certificate, key] = site.certificates()?.install(&account, &site.home)?;
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
    let server = site.on_a_free_port(|number| {
        let listen = [port.to_owned(), number.to_string()];
        let launch = launch(site, &account, "redis")?.args(args.iter().cloned()).args(listen);
        site.serve(launch, number, |pid| answers(site, kind, number, pid))
    })?;
    let mut variables = Variables::default();
    variables.tell(&kind.url_variable(), format!("{scheme}://{user}{}/0", server.address()));
    site.tell_authority(&mut variables, kind);
    server.tell(&mut variables, &kind.stem());
    tell_programs(&mut variables, &server)?;
    Ok(variables)
}

/// Starts one as part of something larger, in a directory of its own.
pub fn member(site: &Site, name: &str, port: u16, args: &str) -> Result<Server, String> {
    let account = Account::of(USER)?;
    let number = port.to_string();
    let launch =
        launch(site, &account, name)?.args(["--port", &number]).args(args.split_whitespace());
    site.serve(launch, port, |pid| answers(site, Kind::Redis, port, pid))
}

/// Asks the server at a port by Redis' own client.
pub fn ask(site: &Site, kind: Kind, port: u16, words: &[&str]) -> Result<String, String> {
    let port = port.to_string();
    let authority = if kind.is_tls() { site.certificates()?.authority() } else { String::new() };
    let mut args = vec!["-h", "127.0.0.1", "-p", &port];
    match kind {
        Kind::RedisTls => args.extend(["--tls", "--cacert", &authority]),
        Kind::RedisPassword => args.extend(["--no-auth-warning", "-a", PASSWORD]),
        _ => {}
    }
    args.extend(words);
    site.ask("redis-cli", &args)
}

/// Whether a kind's answer holds all of these words.
pub fn says(site: &Site, port: u16, question: &[&str], words: &[&str]) -> Result<(), String> {
    let said = ask(site, Kind::Redis, port, question)?;
    match words.iter().find(|word| !said.contains(**word)) {
        None => Ok(()),
        Some(word) => {
            Err(format!("the server at port {port} does not say `{word}` but: {}", said.trim()))
        }
    }
}

/// Tells where the programs of Redis are.
pub fn tell_programs(variables: &mut Variables, server: &Server) -> Result<(), String> {
    tell_program(variables, &server.launch.account, &server.launch.program);
    variables.tell("REDIS_CLI_BIN", packages::find("redis-cli")?.display().to_string());
    Ok(())
}

/// The user that Redis runs as.
pub fn account() -> Result<Account, String> {
    Account::of(USER)
}

fn launch(site: &Site, account: &Account, name: &str) -> Result<Launch, String> {
    let home = site.directory(name, account)?;
    let directory = home.display().to_string();
    let launch = Launch::server(name, account, &packages::find("redis-server")?, &home);
    Ok(launch.args(["--dir", &directory, "--save", ""]).args(SETTINGS.split(' ')))
}

/// Whether it is this process that answers at the port, and no other that took it.
fn answers(site: &Site, kind: Kind, port: u16, pid: u32) -> Result<(), String> {
    let said = ask(site, kind, port, &["INFO", "server"])?;
    let is_it = said.lines().any(|line| line.trim_end() == format!("process_id:{pid}"));
    if is_it { Ok(()) } else { Err(format!("port {port} is answered by another: {}", said.trim())) }
}
