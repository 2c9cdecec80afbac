//! PgBouncer in transaction mode, in front of a PostgreSQL.

use super::kind::Kind;
use super::process::Process;
use super::run_as::RunAs;
use super::variables::Variables;
use super::workdir::Workdir;
use super::{packages, postgres};

/// Starts it, and a PostgreSQL behind it: the user's own may be anywhere and want any password.
pub fn start(dir: &Workdir) -> Result<Variables, String> {
    let behind = postgres::start(dir, Kind::Postgres)?;
    let address = behind.get("POSTGRES_ADDRESS").ok_or("PostgreSQL has no address")?;
    let (_, server_port) = address.rsplit_once(':').ok_or("PostgreSQL has no port")?;
    let account = RunAs::of(postgres::USER)?;
    let program = packages::find("pgbouncer")?;
    // If its port was taken, it alone is started again.
    let dir = Workdir { home: dir.directory("pgbouncer", &RunAs::Current)?, ..*dir };
    let directory = |url: &str| postgres::query(&dir, Kind::Pgbouncer, url, "SHOW data_directory");
    let server_url = format!("postgres://postgres@{address}/millpond");
    let expected = directory(&server_url)?;

    let server = dir.on_a_free_port(|port| {
        let settings = dir.home.join("pgbouncer.ini");
        account.write(&settings, configuration(server_port, port))?;
        let launch = Process::server("pgbouncer", &account, &program, &dir.home)
            .args([settings.display().to_string()]);
        let url = format!("postgres://postgres@127.0.0.1:{port}/millpond");
        dir.serve(launch, port, |_| match directory(&url)? {
            said if said == expected => Ok(()),
            _ => Err(format!("another server answers at port {port}")),
        })
    })?;
    let url = format!("postgres://postgres@{}/millpond", server.address());
    let mut variables = dir.variables_of(Kind::Pgbouncer, &server, url);
    variables.add("PGBOUNCER_SERVER_URL", server_url);
    Ok(variables)
}

/// Four server connections for each database, without authentication. PgBouncer's default refuses
/// `extra_float_digits`. The database `millpond_session` is lent for a session. Without a socket
/// directory it ends if it cannot have its port, instead of living on without it.
fn configuration(server_port: &str, port: u16) -> String {
    format!(
        "[databases]\n\
         millpond_session = host=127.0.0.1 port={server_port} user=postgres dbname=millpond \
         pool_mode=session\n\
         * = host=127.0.0.1 port={server_port} user=postgres\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = any\n\
         admin_users = postgres\n\
         pool_mode = transaction\n\
         default_pool_size = 4\n\
         max_client_conn = 500\n"
    )
}
