//! Starts PgBouncer in transaction mode, in front of a PostgreSQL.

use super::kind::Kind;
use super::process::Process;
use super::run_as::RunAs;
use super::variables::Variables;
use super::workdir::Workdir;
use super::{packages, postgres};

/// Starts a PostgreSQL and a PgBouncer in front of it, and returns their variables. A PostgreSQL
/// that a variable names is not used, since it may need any password.
pub fn start(dir: &Workdir) -> Result<Variables, String> {
    let behind = postgres::start(dir, Kind::Postgres)?;
    let address = behind.get("POSTGRES_ADDRESS").ok_or("PostgreSQL has no address")?;
    let (_, server_port) = address.rsplit_once(':').ok_or("PostgreSQL has no port")?;
    let user = RunAs::of(postgres::USER)?;
    let program = packages::find("pgbouncer")?;
    // A separate directory: if the port was taken, only PgBouncer is started again.
    let dir = Workdir { home: dir.directory("pgbouncer", &RunAs::Current)?, ..*dir };
    let directory = |url: &str| postgres::query(&dir, Kind::Pgbouncer, url, "SHOW data_directory");
    let server_url = format!("postgres://postgres@{address}/millpond");
    let expected = directory(&server_url)?;

    let server = dir.on_a_free_port(|port| {
        let settings = dir.home.join("pgbouncer.ini");
        user.write(&settings, configuration(server_port, port))?;
        let process = Process::server("pgbouncer", &user, &program, &dir.home)
            .args([settings.display().to_string()]);
        let url = format!("postgres://postgres@127.0.0.1:{port}/millpond");
        dir.serve(process, port, |_| match directory(&url)? {
            answer if answer == expected => Ok(()),
            _ => Err(format!("another server answers at port {port}")),
        })
    })?;
    let url = format!("postgres://postgres@{}/millpond", server.address());
    let mut variables = dir.variables_of(Kind::Pgbouncer, &server, url);
    variables.add("PGBOUNCER_SERVER_URL", server_url);
    Ok(variables)
}

/// Returns the settings: four server connections for each database, no authentication, and
/// PgBouncer's default, which refuses `extra_float_digits`. The database `millpond_session` is in
/// session mode. Without a socket directory PgBouncer ends if its port is taken.
fn configuration(server_port: &str, port: u16) -> String {
    format!(
        "[databases]\n\
         millpond_session = host=127.0.0.1 port={server_port} user=postgres dbname=millpond \
         pool_mode=session\n\
         millpond_statement = host=127.0.0.1 port={server_port} user=postgres dbname=millpond \
         pool_mode=statement\n\
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
