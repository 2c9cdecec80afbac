//! A schema for each tenant: a type is looked up in the current search path, not in the one of an
//! earlier look-up by the driver.

use crate::support::{Server, one, server};
use millpond_postgres::{PgPool, PgPoolOptions, ResetLevel, SqlLease};
use sqlx::{AssertSqlSafe, Connection, Executor, Postgres, raw_sql};
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(sqlx::Type)]
#[sqlx(type_name = "mood")]
enum Mood {
    Glad,
}

/// Builds a pool, and creates two schemas with these names, each with a type and a table.
async fn pool(server: &Server, name: &str, options: PgPoolOptions) -> PgPool {
    let pool = options.connect(&server.url).await.unwrap();
    let mut lease = server.connection().await;
    for tenant in ["a", "b"] {
        let schema = format!("{name}_{tenant}");
        server.schema(&schema).await;
        let sql = format!(
            "CREATE TYPE {schema}.mood AS ENUM ('Glad'); CREATE TABLE {schema}.t (m {schema}.mood)"
        );
        raw_sql(AssertSqlSafe(sql)).execute(&mut lease).await.unwrap();
    }
    pool
}

async fn write<'e>(executor: impl Executor<'e, Database = Postgres>) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO t VALUES ($1)";
    sqlx::query(sql).bind(Mood::Glad).execute(executor).await.map(drop)
}

/// Sets the schema of a tenant in one of several spellings.
async fn choose(lease: &mut SqlLease<Postgres>, how: usize, schema: &str) {
    let sql = match how {
        0 => format!("SET search_path = {schema}"),
        1 => format!("set Search_Path to {schema}, public"),
        2 => format!("SET SCHEMA '{schema}'"),
        _ => {
            let sql = "SELECT set_config('search_path', $1, false)";
            sqlx::query(sql).bind(schema).execute(&mut **lease).await.unwrap();
            return;
        }
    };
    raw_sql(AssertSqlSafe(sql)).execute(&mut **lease).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_changes_its_schema_writes_the_type_of_each_schema() {
    let Some(server) = server() else { return };
    for how in 0..4 {
        let name = format!("millpond_tenants_{how}");
        let pool = pool(&server, &name, one()).await;
        for _ in 0..2 {
            let mut lease = pool.acquire().await.unwrap();
            for tenant in ["a", "b", "a"] {
                choose(&mut lease, how, &format!("{name}_{tenant}")).await;
                write(&mut *lease).await.unwrap_or_else(|error| panic!("{how}: {error}"));
            }
        }
        server.same_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn a_schema_set_for_one_transaction_does_not_apply_to_the_next() {
    let Some(server) = server() else { return };
    let name = "millpond_tenant_tx";
    let pool = pool(&server, name, one()).await;
    let mut lease = pool.acquire().await.unwrap();
    choose(&mut lease, 0, &format!("{name}_a")).await;
    drop(lease);
    for keeps in [true, false, true] {
        let mut tx = pool.begin().await.unwrap();
        let sql = format!("SET LOCAL search_path = {name}_b");
        raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
        write(&mut *tx).await.unwrap();
        if keeps { tx.commit().await } else { tx.rollback().await }.unwrap();
        write(&pool).await.unwrap();
    }
}

#[tokio::test]
async fn a_hook_that_sets_a_schema_at_each_checkout_costs_no_errors_and_no_statements() {
    let Some(server) = server() else { return };
    static TURN: AtomicUsize = AtomicUsize::new(0);
    for (n, level) in
        [ResetLevel::None, ResetLevel::Transaction, ResetLevel::Session].into_iter().enumerate()
    {
        let options = one().reset(level).on_checkout(move |conn, _| {
            Box::pin(async move {
                let tenant = ["a", "a", "b", "b"][TURN.fetch_add(1, Ordering::Relaxed) % 4];
                let sql = format!("SET search_path = millpond_hook_{n}_{tenant}");
                raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
                Ok(())
            })
        });
        let pool = pool(&server, &format!("millpond_hook_{n}"), options).await;
        TURN.store(0, Ordering::Relaxed);
        for round in 0..8 {
            let mut lease = pool.acquire().await.unwrap();
            let kept = lease.cached_statements_size();
            assert!(round % 2 == 0 || kept > 0, "{level:?}: they are prepared for every loan");
            write(&mut *lease).await.unwrap_or_else(|error| panic!("{level:?}: {error}"));
        }
    }
}
