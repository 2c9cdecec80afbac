//! sqlx's `Acquire` for pools, leases and transactions.

use crate::lease::{RawLease, SqlLease};
use crate::pool::SqlPool;
use crate::stand_in;
use crate::tracked::Tracked;
use crate::transaction::Transaction;
use futures_core::future::BoxFuture;
use millpond_core::Request;
use sqlx::{Acquire, Connection, Database, Error, SqlSafeStr};

impl<'c, DB: Database> Acquire<'c> for &'_ SqlPool<DB> {
    type Database = DB;
    type Connection = RawLease<DB>;

    #[track_caller]
    fn acquire(self) -> BoxFuture<'c, Result<RawLease<DB>, Error>> {
        let lease = self.acquire_session(Request::here());
        Box::pin(async move { Ok(RawLease::new(lease.await?)) })
    }

    #[track_caller]
    fn begin(self) -> BoxFuture<'c, Result<sqlx::Transaction<'c, DB>, Error>> {
        let lease = self.acquire_session(Request::here());
        let statement = self.begin_statement();
        Box::pin(async move { stand_in::begin(lease.await?, statement).await })
    }
}

impl<'c, DB: Database> Acquire<'c> for &'c mut Tracked<DB> {
    type Database = DB;
    type Connection = &'c mut DB::Connection;

    fn acquire(self) -> BoxFuture<'c, Result<&'c mut DB::Connection, Error>> {
        Box::pin(async move {
            self.resume().await?;
            Ok(&mut **self)
        })
    }

    fn begin(self) -> BoxFuture<'c, Result<sqlx::Transaction<'c, DB>, Error>> {
        Box::pin(async move {
            self.resume().await?;
            if self.is_in_transaction() {
                return sqlx::Transaction::begin(&mut **self, None).await;
            }
            self.refuse_if_begun_in_sql()?;
            let statement = self.backend().begin_statement().map(SqlSafeStr::into_sql_str);
            if self.tracker().is_implicit() {
                return sqlx::Transaction::begin(&mut **self, statement).await;
            }
            let (conn, tracker) = self.driver_and_tracker();
            // If this is dropped, it may have begun.
            tracker.assume_abandoned();
            let tx = sqlx::Transaction::begin(conn, statement).await?;
            tracker.clear_abandoned();
            Ok(tx)
        })
    }
}

impl<'c, DB: Database> Acquire<'c> for &'c mut SqlLease<DB> {
    type Database = DB;
    type Connection = &'c mut DB::Connection;

    fn acquire(self) -> BoxFuture<'c, Result<&'c mut DB::Connection, Error>> {
        Acquire::acquire(&mut **self)
    }

    fn begin(self) -> BoxFuture<'c, Result<sqlx::Transaction<'c, DB>, Error>> {
        Acquire::begin(&mut **self)
    }
}

impl<'t, DB: Database> Acquire<'t> for &'t mut Transaction<'_, DB> {
    type Database = DB;
    type Connection = &'t mut DB::Connection;

    fn acquire(self) -> BoxFuture<'t, Result<&'t mut DB::Connection, Error>> {
        Acquire::acquire(&mut **self)
    }

    fn begin(self) -> BoxFuture<'t, Result<sqlx::Transaction<'t, DB>, Error>> {
        Acquire::begin(&mut **self)
    }
}
