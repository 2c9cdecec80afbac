//! Runs the conformance suite for every manager, for SQL managers, and for servers.

use crate::support::Server;
use futures_util::TryStreamExt;
use millpond_core::BoxError;
use millpond_postgres::{
    Credentials, PgConnectOptions, PgManager, PgPoolOptions, Postgres, Tracked,
};
use millpond_testkit::{
    Fixture, Mark, OwnServer, Plan, Refusals, Served, ServerStep, postgres_error,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, raw_sql};
use std::fs;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A fixture with its own `application_name`, by which the server counts its sessions.
struct Pg(String);

impl Pg {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Self(format!(
            "conformance {} {}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ))
    }
}

impl Fixture for Pg {
    type Manager = PgManager;

    async fn manager(&self) -> Result<PgManager, String> {
        let url = std::env::var("MILLPOND_TEST_POSTGRES_URL")
            .map_err(|_| "no MILLPOND_TEST_POSTGRES_URL".to_owned())?;
        let options = PgConnectOptions::from_str(&url).map_err(|error| error.to_string())?;
        Ok(PgManager::new(options.application_name(&self.0)))
    }

    async fn ask(&self, conn: &mut Tracked<Postgres>, number: i64) -> Result<i64, BoxError> {
        Ok(sqlx::query_scalar("SELECT $1::int8").bind(number).fetch_one(conn).await?)
    }

    async fn ask_worded(
        &self,
        conn: &mut Tracked<Postgres>,
        wording: u64,
        number: i64,
    ) -> Result<i64, BoxError> {
        let sql = AssertSqlSafe(format!("SELECT $1::int8, repeat('x', 100), {wording}::int8"));
        Ok(sqlx::query(sql).bind(number).fetch_one(conn).await?.try_get(0)?)
    }

    async fn kill(&self, conn: &mut Tracked<Postgres>) -> Result<(), BoxError> {
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(conn).await?;
        let kill = sqlx::query("SELECT pg_terminate_backend($1, 10000)").bind(pid);
        kill.execute(&mut this().connection().await).await?;
        Ok(())
    }

    async fn open_at_server(&self) -> Result<usize, BoxError> {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
        let open: i64 =
            sqlx::query_scalar(sql).bind(&self.0).fetch_one(&mut this().connection().await).await?;
        Ok(usize::try_from(open)?)
    }

    async fn away(&self) -> Result<PgManager, BoxError> {
        Ok(PgManager::new(PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(1)))
    }

    async fn refused(&self) -> Result<PgManager, BoxError> {
        let options = PgConnectOptions::from_str(&self.url())?;
        Ok(PgManager::new(options.database("no_such_database")))
    }

    async fn execute(
        &self,
        conn: &mut Tracked<Postgres>,
        sql: &'static str,
    ) -> Result<(), BoxError> {
        raw_sql(sql).execute(conn).await?;
        Ok(())
    }

    async fn execute_unseen(
        &self,
        conn: &mut Tracked<Postgres>,
        sql: &'static str,
    ) -> Result<(), BoxError> {
        raw_sql(sql).execute(&mut **conn).await?;
        Ok(())
    }

    async fn finds(
        &self,
        conn: &mut Tracked<Postgres>,
        sql: &'static str,
    ) -> Result<bool, BoxError> {
        Ok(raw_sql(sql).fetch_optional(conn).await?.is_some())
    }

    fn beginnings(&self) -> &'static [&'static str] {
        &[
            "BEGIN",
            "begin isolation level serializable",
            "/* read */ BEGIN",
            "/* /* */ SELECT 1 */ BEGIN",
            "-- read\nBegin",
            "SELECT 1; BEGIN",
            "START TRANSACTION",
            "BEGIN; SAVEPOINT a",
            "SET search_path = public, pg_catalog; BEGIN",
            "BEGIN; COMMIT AND CHAIN",
            "begin; SAVEPOINT a; ROLLBACK TO a; ROLLBACK AND CHAIN",
        ]
    }

    async fn begin(&self, conn: &mut Tracked<Postgres>) -> Result<(), BoxError> {
        std::mem::forget(Connection::begin(&mut **conn).await?);
        Ok(())
    }

    async fn make_dirty(&self, conn: &mut Tracked<Postgres>) -> Result<(), BoxError> {
        self.begin(conn).await
    }

    async fn is_dirty(&self, conn: &mut Tracked<Postgres>) -> Result<bool, BoxError> {
        self.is_in_transaction(conn).await
    }

    async fn is_in_transaction(&self, conn: &mut Tracked<Postgres>) -> Result<bool, BoxError> {
        // By the simple protocol: a statement with arguments begins its own transaction one message
        // earlier.
        let row = raw_sql("SELECT now() <> statement_timestamp(), pg_backend_pid()")
            .fetch_one(conn)
            .await?;
        // As another connection sees the session, if it still exists there.
        let sql =
            "SELECT state <> 'idle' OR xact_start IS NOT NULL FROM pg_stat_activity WHERE pid = $1";
        let pid: i32 = row.try_get(1)?;
        let seen: Option<bool> = sqlx::query_scalar(sql)
            .bind(pid)
            .fetch_optional(&mut this().connection().await)
            .await?;
        let open = row.try_get(0)?;
        assert_eq!(
            open,
            seen.unwrap_or(open),
            "the session itself says the one, and the server the other"
        );
        Ok(open)
    }

    async fn fetch(&self, conn: &mut Tracked<Postgres>, rows: usize) -> Result<(), BoxError> {
        let mut stream =
            sqlx::query("SELECT x FROM generate_series(1::int8, 5000) AS x").fetch(conn);
        for expected in (1..).take(rows) {
            let row = stream.try_next().await?.ok_or("there are fewer rows")?;
            assert_eq!(row.try_get::<i64, _>(0)?, expected);
        }
        Ok(())
    }

    fn url(&self) -> String {
        this().url
    }

    fn pool(&self, plan: &Plan) -> Result<Served<Self>, BoxError> {
        let mut options = PgPoolOptions::new().config(plan.config.clone()).reset(plan.reset);
        if let Some(file) = &plan.password_file {
            options = options.credentials(Credentials::file(file));
        }
        // A fake server does not understand the request for TLS, which would come first otherwise.
        let mut url = format!("{}?sslmode=disable", plan.url);
        if let Some(statements) = plan.statements {
            url += &format!("&statement_cache_capacity={statements}");
        }
        Ok(options.observer(plan.trace.clone()).connect_lazy(&url)?.pool())
    }

    fn marks(&self) -> &'static [Mark] {
        &MARKS
    }

    fn refusals(&self) -> Refusals {
        let says = |code, message| {
            vec![ServerStep::Receive, ServerStep::Send(postgres_error(code, message))]
        };
        Refusals {
            not_yet: says("57P03", "the database system is starting up"),
            never: says("28P01", "password authentication failed"),
        }
    }

    async fn pause(&self, conn: &mut Tracked<Postgres>, time: Duration) -> Result<(), BoxError> {
        let sql = format!("SELECT pg_sleep({})", time.as_secs_f64());
        raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
        Ok(())
    }

    async fn own_server(&self) -> Result<(OwnServer, String), String> {
        let server = OwnServer::start("postgres")?;
        let url = server.url().to_owned();
        Ok((server, url))
    }

    async fn dial(&self, url: &str) -> Result<(), BoxError> {
        Ok(PgConnection::connect(url).await?.close().await?)
    }

    /// Restarts the server as a standby; a real standby begins as a copy.
    async fn demote(&self, server: &mut OwnServer) -> Result<(), BoxError> {
        server.stop("INT").await?;
        fs::write(format!("{}/standby.signal", server.option(" -D ")), "")?;
        server.start_again("")?;
        let url = server.url().to_owned();
        while self.dial(&url).await.is_err() {}
        Ok(())
    }

    fn harmless(&self) -> &'static [&'static str] {
        &["BEGIN READ ONLY; INSERT INTO ponds VALUES (1); COMMIT"]
    }

    async fn statements(&self, conn: &mut Tracked<Postgres>) -> Result<u64, BoxError> {
        let row = raw_sql("SELECT count(*) FROM pg_prepared_statements").fetch_one(conn).await?;
        Ok(u64::try_from(row.try_get::<i64, _>(0)?)?)
    }

    async fn set_password(&self, user: &str, password: &str) -> Result<(), BoxError> {
        let password = password.replace('\'', "''");
        let sql = format!(
            "DO $do$ BEGIN CREATE ROLE {user} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; \
             END $do$; ALTER ROLE {user} PASSWORD '{password}'"
        );
        raw_sql(AssertSqlSafe(sql)).execute(&mut this().connection().await).await?;
        Ok(())
    }
}

/// Thirteen kinds of session state; the last three are left by plain SELECTs.
const MARKS: [Mark; 13] = [
    // The first, since it needs rights that the next two give up.
    Mark {
        leave: "CREATE SEQUENCE IF NOT EXISTS public.millpond_ids; SELECT \
            nextval('public.millpond_ids')",
        look: "SELECT lastval()",
    },
    Mark {
        leave: "SET ROLE pg_read_all_stats",
        look: "SELECT 1 WHERE current_user = 'pg_read_all_stats'",
    },
    Mark {
        leave: "SET SESSION AUTHORIZATION pg_monitor",
        look: "SELECT 1 WHERE session_user = 'pg_monitor'",
    },
    Mark {
        leave: "SET search_path = pg_catalog",
        look: "SELECT 1 WHERE current_setting('search_path') NOT LIKE '%public%'",
    },
    Mark {
        leave: "SET statement_timeout = '7min'",
        look: "SELECT 1 WHERE current_setting('statement_timeout') <> '0'",
    },
    Mark {
        leave: "SET TIME ZONE 'Europe/Paris'",
        look: "SELECT 1 WHERE current_setting('TimeZone') <> 'UTC'",
    },
    Mark {
        leave: "CREATE TEMP TABLE millpond_secret (i INT)",
        look: "SELECT 1 FROM pg_class WHERE relname = 'millpond_secret' AND \
            pg_table_is_visible(oid)",
    },
    Mark { leave: "LISTEN pond", look: "SELECT 1 FROM pg_listening_channels()" },
    Mark {
        leave: "DECLARE mine CURSOR WITH HOLD FOR SELECT 1",
        look: "SELECT 1 FROM pg_cursors WHERE name = 'mine'",
    },
    Mark {
        leave: "PREPARE \"my \"\" own\" AS SELECT 1",
        look: "SELECT 1 FROM pg_prepared_statements WHERE from_sql",
    },
    Mark { leave: "SELECT pg_advisory_lock(4711)", look: LOCKED },
    Mark { leave: "SELECT pg_advisory_lock_shared(4712)", look: LOCKED },
    Mark {
        leave: "SELECT set_config('lock_timeout', '7min', false)",
        look: "SELECT 1 WHERE current_setting('lock_timeout') <> '0'",
    },
];

const LOCKED: &str =
    "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";

/// Returns the server of the environment, which exists if a manager was created.
fn this() -> Server {
    crate::support::server().unwrap()
}

millpond_testkit::conformance! {
    fixture = Pg::new(),
    can = [
        Answers, Dies, Dirty, Counted, Away, Refuses, Transactions, Streams, Pools, Session,
        Network, Cancels,
        Restarts, Demotes,
        Statements, Credentials,
    ]
}
