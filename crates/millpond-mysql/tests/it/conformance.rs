//! Runs the conformance suite for every manager, for SQL managers, and for servers.

use crate::backend::MANY;
use crate::support::{IN_TRANSACTION, Server, kind, server_variable};
use futures_util::TryStreamExt;
use millpond_core::BoxError;
use millpond_mysql::{
    Credentials, MySql, MySqlConnectOptions, MySqlManager, MySqlPoolOptions, Tracked,
};
use millpond_testkit::{Fixture, Mark, OwnServer, Plan, Refusals, Served, ServerStep, mysql_error};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, Row, raw_sql};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A fixture with its own user, by which the server counts its sessions.
struct Maria(String);

impl Maria {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Self(format!("conformance_{}", COUNT.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Fixture for Maria {
    type Manager = MySqlManager;

    async fn manager(&self) -> Result<MySqlManager, String> {
        let url = server_variable("URL").ok_or_else(|| format!("no {}", kind()))?;
        let user = &self.0;
        let grant = format!("GRANT ALL ON *.* TO {user}@'%' WITH GRANT OPTION");
        let again = format!("DROP USER IF EXISTS {user}@'%'; CREATE USER {user}@'%'; {grant}");
        this().execute(again).await;
        let options = MySqlConnectOptions::from_str(&url).map_err(|error| error.to_string())?;
        Ok(MySqlManager::new(options.username(user)))
    }

    async fn ask(&self, conn: &mut Tracked<MySql>, number: i64) -> Result<i64, BoxError> {
        Ok(sqlx::query_scalar("SELECT ?").bind(number).fetch_one(conn).await?)
    }

    async fn ask_worded(
        &self,
        conn: &mut Tracked<MySql>,
        wording: u64,
        number: i64,
    ) -> Result<i64, BoxError> {
        let sql = AssertSqlSafe(format!("SELECT ?, REPEAT('x', 100), {wording}"));
        Ok(sqlx::query(sql).bind(number).fetch_one(conn).await?.try_get(0)?)
    }

    async fn kill(&self, conn: &mut Tracked<MySql>) -> Result<(), BoxError> {
        let id: u64 = sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(conn).await?;
        this().execute(format!("KILL {id}")).await;
        Ok(())
    }

    async fn open_at_server(&self) -> Result<usize, BoxError> {
        let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = ?";
        let open: i64 =
            sqlx::query_scalar(sql).bind(&self.0).fetch_one(&mut this().connection().await).await?;
        Ok(usize::try_from(open)?)
    }

    async fn away(&self) -> Result<MySqlManager, BoxError> {
        Ok(MySqlManager::new(MySqlConnectOptions::new().host("127.0.0.1").port(1)))
    }

    async fn refused(&self) -> Result<MySqlManager, BoxError> {
        let options = MySqlConnectOptions::from_str(&self.url())?;
        Ok(MySqlManager::new(options.database("no_such_database")))
    }

    async fn execute(&self, conn: &mut Tracked<MySql>, sql: &'static str) -> Result<(), BoxError> {
        raw_sql(sql).execute(conn).await?;
        Ok(())
    }

    async fn execute_unseen(
        &self,
        conn: &mut Tracked<MySql>,
        sql: &'static str,
    ) -> Result<(), BoxError> {
        raw_sql(sql).execute(&mut **conn).await?;
        Ok(())
    }

    async fn finds(&self, conn: &mut Tracked<MySql>, sql: &'static str) -> Result<bool, BoxError> {
        Ok(raw_sql(sql).fetch_optional(conn).await?.is_some())
    }

    fn beginnings(&self) -> &'static [&'static str] {
        if kind() == "mysql" { &BEGINNINGS[2..] } else { &BEGINNINGS }
    }
    async fn begin(&self, conn: &mut Tracked<MySql>) -> Result<(), BoxError> {
        std::mem::forget(Connection::begin(&mut **conn).await?);
        Ok(())
    }

    async fn make_dirty(&self, conn: &mut Tracked<MySql>) -> Result<(), BoxError> {
        self.begin(conn).await
    }

    async fn is_dirty(&self, conn: &mut Tracked<MySql>) -> Result<bool, BoxError> {
        self.is_in_transaction(conn).await
    }

    async fn is_in_transaction(&self, conn: &mut Tracked<MySql>) -> Result<bool, BoxError> {
        let sql =
            format!("SELECT {IN_TRANSACTION}, CAST(@@autocommit AS SIGNED), @@completion_type");
        let row = raw_sql(AssertSqlSafe(sql)).fetch_one(conn).await?;
        assert_eq!((row.try_get::<i64, _>(1)?, row.try_get::<&str, _>(2)?), (1, "NO_CHAIN"));
        Ok(row.try_get::<i64, _>(0)? != 0)
    }

    async fn fetch(&self, conn: &mut Tracked<MySql>, rows: usize) -> Result<(), BoxError> {
        let mut stream = sqlx::query(MANY).fetch(conn);
        for expected in (1..).take(rows) {
            let row = stream.try_next().await?.ok_or("there are fewer rows")?;
            assert_eq!(row.try_get::<u64, _>(0)?, expected);
        }
        Ok(())
    }

    fn url(&self) -> String {
        this().url
    }

    fn pool(&self, plan: &Plan) -> Result<Served<Self>, BoxError> {
        let mut options = MySqlPoolOptions::new().config(plan.config.clone()).reset(plan.reset);
        if let Some(file) = &plan.password_file {
            options = options.credentials(Credentials::file(file));
        }
        let mut url = plan.url.clone();
        if let Some(statements) = plan.statements {
            url += &format!("?statement_cache_capacity={statements}");
        }
        Ok(options.observer(plan.trace.clone()).connect_lazy(&url)?.pool())
    }

    fn marks(&self) -> &'static [Mark] {
        &MARKS
    }

    fn refusals(&self) -> Refusals {
        Refusals {
            not_yet: vec![ServerStep::Send(mysql_error(1040, "#08004Too many connections"))],
            never: vec![ServerStep::Send(mysql_error(1045, "#28000Access denied"))],
        }
    }

    async fn pause(&self, conn: &mut Tracked<MySql>, time: Duration) -> Result<(), BoxError> {
        let sql = format!("SELECT SLEEP({})", time.as_secs_f64());
        raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
        Ok(())
    }

    /// Starts a server; it refuses unknown files with the error of a read-only server.
    async fn own_server(&self) -> Result<(OwnServer, String), String> {
        let as_text = |error: BoxError| error.to_string();
        let mut server = OwnServer::start(kind())?;
        let url = server.url().to_owned();
        server.stop("KILL").await.map_err(|error| as_text(error.into()))?;
        server.start_again("--secure-file-priv=/var/lib").map_err(|error| as_text(error.into()))?;
        while self.dial(&url).await.is_err() {}
        // A user with all rights may also write to a read-only server.
        let sql = "CREATE USER miller@'127.0.0.1'; GRANT ALL ON millpond.* TO miller@'127.0.0.1'; \
                   GRANT SELECT ON performance_schema.* TO miller@'127.0.0.1'; \
                   GRANT FILE ON *.* TO miller@'127.0.0.1'";
        at(&url, sql).await.map_err(as_text)?;
        Ok((server, url.replace("root@", "miller@")))
    }

    async fn dial(&self, url: &str) -> Result<(), BoxError> {
        Ok(MySqlConnection::connect(url).await?.close().await?)
    }

    async fn demote(&self, server: &mut OwnServer) -> Result<(), BoxError> {
        at(server.url(), "SET GLOBAL read_only = 1").await
    }

    fn harmless(&self) -> &'static [&'static str] {
        &[
            "SELECT 1 INTO OUTFILE '/tmp/millpond_never'",
            "START TRANSACTION READ ONLY; INSERT INTO ponds VALUES (1); COMMIT",
        ]
    }

    async fn statements(&self, conn: &mut Tracked<MySql>) -> Result<u64, BoxError> {
        if kind() == "mysql" {
            // Statements that the driver closes are not counted there.
            let sql = "SELECT COUNT(*) FROM performance_schema.prepared_statements_instances \
                       WHERE OWNER_THREAD_ID = PS_CURRENT_THREAD_ID()";
            return Ok(raw_sql(sql).fetch_one(conn).await?.try_get::<i64, _>(0)?.try_into()?);
        }
        let sql =
            "SHOW SESSION STATUS WHERE Variable_name IN ('Com_stmt_prepare', 'Com_stmt_close')";
        let mut kept = 0;
        for row in raw_sql(sql).fetch_all(conn).await? {
            let count: i64 = row.try_get::<&str, _>(1)?.parse()?;
            kept += if row.try_get::<&str, _>(0)? == "Com_stmt_close" { -count } else { count };
        }
        Ok(u64::try_from(kept)?)
    }

    async fn set_password(&self, user: &str, password: &str) -> Result<(), BoxError> {
        let password = password.replace('\\', "\\\\").replace('\'', "''");
        let sql = format!(
            "CREATE USER IF NOT EXISTS {user}@'127.0.0.1'; ALTER USER {user}@'127.0.0.1' \
             IDENTIFIED BY '{password}'; GRANT ALL ON millpond.* TO {user}@'127.0.0.1'"
        );
        this().execute(sql).await;
        Ok(())
    }
}

/// Statements that begin a transaction; MySQL does not know the first two.
const BEGINNINGS: [&str; 16] = [
    "/*M! BEGIN */",
    "EXECUTE IMMEDIATE 'SET autocommit = 0'",
    "BEGIN",
    "begin work",
    "/* read */ BEGIN",
    "/*!50000 BEGIN */",
    "-- read\nBegin",
    "# read\nBEGIN",
    "SELECT 1; BEGIN",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    "BEGIN; SAVEPOINT a",
    "SET @a = 1; BEGIN",
    "SET autocommit = 0",
    "SELECT 1; SET autocommit = 0",
    "PREPARE s FROM 'SET autocommit = 0'; EXECUTE s",
    "SET completion_type = CHAIN; BEGIN; COMMIT",
];

/// Eleven kinds of session state; the last one is left by a plain SELECT.
const MARKS: [Mark; 11] = [
    Mark { leave: "SET @mine = 'secret'", look: "SELECT 1 FROM DUAL WHERE @mine = 'secret'" },
    Mark {
        leave: "SET NAMES latin1",
        look: "SELECT 1 FROM DUAL WHERE @@character_set_client = 'latin1'",
    },
    Mark { leave: "SET SESSION sql_mode = ''", look: "SELECT 1 FROM DUAL WHERE @@sql_mode = ''" },
    Mark {
        leave: "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        look: "SELECT 1 FROM DUAL WHERE \
               /*M! @@tx_isolation */ /*!80000 @@transaction_isolation */ = 'SERIALIZABLE'",
    },
    Mark {
        leave: "SET time_zone = '+05:00'",
        look: "SELECT 1 FROM DUAL WHERE @@time_zone = '+05:00'",
    },
    Mark {
        leave: "DROP TEMPORARY TABLE IF EXISTS millpond_secret; \
                CREATE TEMPORARY TABLE millpond_secret SELECT 1 AS i",
        look: "SELECT i FROM millpond.millpond_secret",
    },
    Mark { leave: "DO GET_LOCK('millpond_lock', 0)", look: LOCKED },
    Mark { leave: "PREPARE mine FROM 'SELECT 1'", look: "EXECUTE mine" },
    Mark {
        leave: "CREATE ROLE IF NOT EXISTS millpond_role; \
                GRANT millpond_role TO root@'127.0.0.1'; SET ROLE millpond_role",
        look: "SELECT 1 FROM DUAL WHERE CURRENT_ROLE() LIKE '%millpond_role%'",
    },
    Mark {
        leave: "USE information_schema",
        look: "SELECT 1 FROM DUAL WHERE DATABASE() = 'information_schema'",
    },
    Mark { leave: "SELECT @selected := 1", look: "SELECT 1 FROM DUAL WHERE @selected = 1" },
];

const LOCKED: &str = "SELECT 1 FROM DUAL WHERE IS_USED_LOCK('millpond_lock') = CONNECTION_ID()";

/// Returns the server of the environment, which exists if a manager was created.
fn this() -> Server {
    crate::support::server().unwrap()
}

/// Executes a statement on another server.
async fn at(url: &str, sql: &'static str) -> Result<(), BoxError> {
    let mut conn = MySqlConnection::connect(url).await?;
    raw_sql(sql).execute(&mut conn).await?;
    Ok(conn.close().await?)
}

millpond_testkit::conformance! {
    fixture = Maria::new(),
    can = [
        Answers, Dies, Dirty, Counted, Away, Refuses, Transactions, Streams, Pools, Session,
        Network, Cancels,
        Restarts, Demotes,
        Statements, Credentials,
    ]
}
