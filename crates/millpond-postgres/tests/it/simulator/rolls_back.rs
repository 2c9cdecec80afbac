//! A backend for a server that rolls back whole transactions by itself; otherwise the same as
//! PostgreSQL's.

use millpond_core::{
    ConnectInfo, ErrorClass, Manager, PoolConfig, QueuePool, ResetLevel, Triage, async_trait,
};
use millpond_postgres::{PgBackend, PgConnectOptions, PgManager, PgPool, SqlPool};
use millpond_sqlx::Tracked;
use millpond_sqlx::backend_api::{
    Backend, CacheValidity, ErrorImpact, MayEnd, SchemaChanges, StatementEffect, TransactionState,
    Unfinished, Verified,
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

    fn effect(&self, sql: &str) -> StatementEffect {
        PgBackend.effect(sql)
    }

    fn stops_after_one_row(&self) -> bool {
        PgBackend.stops_after_one_row()
    }

    fn error_impact(&self, error: &Error) -> ErrorImpact {
        PgBackend.error_impact(error)
    }

    fn cache_validity(&self, error: &Error) -> CacheValidity {
        PgBackend.cache_validity(error)
    }

    fn deallocates(&self, sql: &str) -> bool {
        PgBackend.deallocates(sql)
    }

    async fn clear_caches(&self, conn: &mut PgConnection) -> Result<(), Error> {
        PgBackend.clear_caches(conn).await
    }

    async fn resume(
        &self,
        conn: &mut PgConnection,
        unfinished: Unfinished,
    ) -> Result<Vec<Error>, Error> {
        PgBackend.resume(conn, unfinished).await
    }

    async fn check_sync(
        &self,
        conn: &mut PgConnection,
        unfinished: Unfinished,
    ) -> Result<(), Error> {
        PgBackend.check_sync(conn, unfinished).await
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

/// Builds a pool over such a server.
pub fn pool(options: PgConnectOptions, reset: ResetLevel, config: PoolConfig) -> PgPool {
    let inner = PgManager::new(options).with_reset(reset);
    let pool_handle = inner.pool_handle();
    let manager = RollsBackManager { inner, changes: pool_handle.schema_changes() };
    let pool = QueuePool::builder(manager).config(config).build().unwrap();
    pool_handle.attach(&pool);
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
