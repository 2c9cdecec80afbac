//! PgBouncer in transaction mode, in front of a PostgreSQL.

use super::kind::Kind;
use super::process::Process;
use super::run_as::RunAs;
use super::variables::Variables;
use super::workdir::{Workdir, add_program};
use super::{packages, postgres};

/// Starts it before the server with these variables.
pub fn start(dir: &Workdir, behind: &Variables) -> Result<Variables, String> {
    let address =
        behind.get("POSTGRES_ADDRESS").ok_or("there is no PostgreSQL to stand in front of")?;
    let (_, server_port) = address.rsplit_once(':').ok_or("PostgreSQL has no port")?;
    let account = RunAs::of(postgres::USER)?;
    let program = packages::find("pgbouncer")?;
    let directory = |url: &str| postgres::query(dir, Kind::Pgbouncer, url, "SHOW data_directory");
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
    let mut variables = Variables::default();
    let url = format!("postgres://postgres@{}/millpond", server.address());
    variables.add(&Kind::Pgbouncer.url_variable(), url);
    // Not always the shared PostgreSQL: that may be the user's own.
    variables.add("PGBOUNCER_SERVER_URL", server_url);
    server.add(&mut variables, &Kind::Pgbouncer.stem());
    add_program(&mut variables, &account, &program);
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
