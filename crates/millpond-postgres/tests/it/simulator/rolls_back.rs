//! A backend for a server that undoes a whole transaction by itself: PostgreSQL's, but for what
//! follows from that.

use millpond_core::{
    ConnectInfo, ErrorClass, Manager, PoolConfig, QueuePool, ResetLevel, Triage, async_trait,
};
use millpond_postgres::{PgBackend, PgConnectOptions, PgManager, PgPool, SqlPool};
use millpond_sqlx::Tracked;
use millpond_sqlx::backend_api::{
    Backend, Effect, ErrorImpact, MayEnd, Memory, SchemaChanges, TransactionState, Unfinished,
    Verified,
};
use sqlx::{Error, PgConnection, Postgres};

#[derive(Debug)]
struct RollsBack;

static ROLLS_BACK: RollsBack = RollsBack;

#[async_trait]
impl Backend<Postgres> for RollsBack {
    fn ends_transaction(&self, keyword: &str) -> MayEnd {
        if keyword.eq_ignore_ascii_case("ALTER") { MayEnd::Commits } else { MayEnd::Never }
    }

    fn refuses_after_failure(&self) -> bool {
        false
    }

    fn effect(&self, sql: &str) -> Effect {
        PgBackend.effect(sql)
    }

    fn stops_after_one_row(&self) -> bool {
        PgBackend.stops_after_one_row()
    }

    fn error_impact(&self, error: &Error) -> ErrorImpact {
        PgBackend.error_impact(error)
    }

    fn memory(&self, error: &Error) -> Memory {
        PgBackend.memory(error)
    }

    fn deallocates(&self, sql: &str) -> bool {
        PgBackend.deallocates(sql)
    }

    async fn forget(&self, conn: &mut PgConnection) -> Result<(), Error> {
        PgBackend.forget(conn).await
    }

    async fn resume(
        &self,
        conn: &mut PgConnection,
        left: Unfinished,
    ) -> Result<Option<Error>, Error> {
        PgBackend.resume(conn, left).await
    }

    async fn in_step(&self, conn: &mut PgConnection) -> Result<(), Error> {
        PgBackend.in_step(conn).await
    }

    async fn transaction_state(
        &self,
        conn: &mut PgConnection,
        mark: Option<&str>,
    ) -> Result<TransactionState, Error> {
        PgBackend.transaction_state(conn, mark).await
    }

    async fn mark(&self, conn: &mut PgConnection) -> Result<Option<String>, Error> {
        PgBackend.mark(conn).await
    }

    async fn verify(&self, conn: &mut PgConnection) -> Result<Verified, Error> {
        PgBackend.verify(conn).await
    }
}

struct RollsBackManager {
    inner: PgManager,
    changes: SchemaChanges,
}

/// A pool over such a server.
pub fn pool(options: PgConnectOptions, reset: ResetLevel, config: PoolConfig) -> PgPool {
    let inner = PgManager::new(options).with_reset(reset);
    let link = inner.link();
    let manager = RollsBackManager { inner, changes: link.schema_changes() };
    let pool = QueuePool::builder(manager).config(config).build().unwrap();
    link.join(&pool);
    SqlPool::from_queue(pool)
}

impl Manager for RollsBackManager {
    type Connection = Tracked<Postgres>;
    type Error = Error;

    async fn connect(&self, info: &ConnectInfo) -> Result<Tracked<Postgres>, Error> {
        let mut conn = Tracked::new(self.inner.connect(info).await?.into_driver(), &ROLLS_BACK);
        conn.share_schema_changes(&self.changes);
        Ok(conn)
    }

    async fn ping(&self, conn: &mut Tracked<Postgres>) -> Result<(), Error> {
        self.inner.ping(conn).await
    }

    fn triage(&self, conn: &mut Tracked<Postgres>) -> Triage {
        self.inner.triage(conn)
    }

    async fn reset(&self, conn: &mut Tracked<Postgres>) -> Result<(), Error> {
        self.inner.reset(conn).await
    }

    fn undoes_on_connect(&self, conn: &mut Tracked<Postgres>) -> bool {
        self.inner.undoes_on_connect(conn)
    }

    async fn close(&self, conn: Tracked<Postgres>) -> Result<(), Error> {
        self.inner.close(conn).await
    }

    fn classify(&self, error: &Error) -> ErrorClass {
        self.inner.classify(error)
    }
}
