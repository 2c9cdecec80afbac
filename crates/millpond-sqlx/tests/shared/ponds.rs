//! A service as written for sqlx's pool, compiled against millpond's. Only the imports differ.

use crate::backend::{Connection, Db, DbExecutor, Pool, Row};
use crate::service::{DELETE, FIND, RENAME, create};
use futures_util::TryStreamExt;
use millpond_sqlx::Transaction;
use sqlx::{Acquire, Executor, FromRow, QueryBuilder, Row as _};

#[derive(Debug, PartialEq, Eq, FromRow)]
struct Pond {
    id: i64,
    name: String,
    depth: i64,
}

#[derive(Clone)]
struct Ponds {
    pool: Pool,
}

impl Ponds {
    async fn create(&self, name: &str, depth: i64) -> sqlx::Result<i64> {
        create(&self.pool, name, depth).await
    }

    async fn create_many(&self, names: &[&str]) -> sqlx::Result<u64> {
        let mut query = QueryBuilder::<Db>::new("INSERT INTO ponds (name) ");
        query.push_values(names, |mut row, name| {
            row.push_bind(*name);
        });
        Ok(query.build().execute(&self.pool).await?.rows_affected())
    }

    async fn find(&self, id: i64) -> sqlx::Result<Option<Pond>> {
        sqlx::query_as(FIND).bind(id).fetch_optional(&self.pool).await
    }

    async fn all(&self) -> sqlx::Result<Vec<Pond>> {
        let mut ponds = Vec::new();
        let mut rows =
            sqlx::query_as("SELECT id, name, depth FROM ponds ORDER BY id").fetch(&self.pool);
        while let Some(pond) = rows.try_next().await? {
            ponds.push(pond);
        }
        Ok(ponds)
    }

    async fn rename(&self, id: i64, name: &str) -> sqlx::Result<bool> {
        let mut tx = self.pool.begin().await?;
        let changed = rename(&mut tx, id, name).await?;
        tx.commit().await?;
        Ok(changed)
    }

    async fn delete(&self, id: i64) -> sqlx::Result<u64> {
        let mut conn = self.pool.acquire().await?;
        Ok(sqlx::query(DELETE).bind(id).execute(&mut *conn).await?.rows_affected())
    }
}

async fn rename(tx: &mut Transaction<'_, Db>, id: i64, name: &str) -> sqlx::Result<bool> {
    let done = sqlx::query(RENAME).bind(name).bind(id).execute(&mut **tx).await?;
    Ok(done.rows_affected() == 1)
}

async fn count<'e>(executor: impl DbExecutor<'e>) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT COUNT(*) FROM ponds").fetch_one(executor).await
}

async fn depths<'e, E: Executor<'e, Database = Db>>(executor: E) -> sqlx::Result<Vec<i64>> {
    sqlx::query("SELECT depth FROM ponds ORDER BY id")
        .try_map(|row: Row| row.try_get(0))
        .fetch_all(executor)
        .await
}

async fn count_twice<'a>(source: impl Acquire<'a, Database = Db>) -> sqlx::Result<i64> {
    let mut conn = source.acquire().await?;
    Ok(count(&mut *conn).await? + count(&mut *conn).await?)
}

async fn deepen<'a>(source: impl Acquire<'a, Database = Db>) -> sqlx::Result<()> {
    let mut tx = source.begin().await?;
    sqlx::query("UPDATE ponds SET depth = depth + 1").execute(&mut *tx).await?;
    tx.commit().await
}

/// The same on a connection.
async fn deepen_on_a_connection<'a>(source: impl Acquire<'a, Database = Db>) -> sqlx::Result<()> {
    let mut conn = source.acquire().await?;
    let mut tx = sqlx::Connection::begin(&mut *conn).await?;
    sqlx::query("UPDATE ponds SET depth = depth + 1").execute(&mut *tx).await?;
    tx.commit().await
}

async fn with_the_drivers(conn: &mut Connection) -> sqlx::Result<i64> {
    count(conn).await
}

/// Calls every function of the service.
pub async fn exercise(pool: Pool) -> sqlx::Result<()> {
    let ponds = Ponds { pool };
    sqlx::migrate!("tests/migrations").run(&ponds.pool).await?;
    let mill = ponds.create("mill", 2).await?;
    assert_eq!(ponds.create_many(&["duck", "fish"]).await?, 2);
    assert_eq!(ponds.find(mill).await?.map(|pond| pond.name), Some("mill".to_owned()));
    assert_eq!(ponds.find(4711).await?, None);
    assert!(ponds.rename(mill, "old mill").await?);
    let names: Vec<_> = ponds.all().await?.into_iter().map(|pond| pond.name).collect();
    assert_eq!(names, ["founders", "old mill", "duck", "fish"]);
    assert_eq!(ponds.delete(mill).await?, 1);

    let error = ponds.create("duck", 1).await.unwrap_err();
    assert!(error.as_database_error().is_some_and(|error| error.is_unique_violation()));

    assert_eq!(count(&ponds.pool).await?, 3);
    assert_eq!(depths(&ponds.pool).await?, [3, 0, 0]);
    assert_eq!(count_twice(&ponds.pool).await?, 6);
    deepen_on_a_connection(&ponds.pool).await?;
    assert_eq!(depths(&ponds.pool).await?, [4, 1, 1]);
    deepen(&ponds.pool).await?;
    assert_eq!(depths(&ponds.pool).await?, [5, 2, 2]);
    let mut conn = ponds.pool.acquire().await?;
    assert_eq!(count(&mut *conn).await?, 3);
    assert_eq!(with_the_drivers(&mut conn).await?, 3);
    assert_eq!(with_the_drivers(conn.as_mut()).await?, 3);
    let _: &Connection = conn.as_ref();
    assert_eq!(count_twice(&mut conn).await?, 6);
    assert_eq!(count_twice(&mut *conn).await?, 6);
    deepen(&mut *conn).await?;
    assert_eq!(depths(&mut *conn).await?, [6, 3, 3]);
    drop(conn);
    let mut tx = ponds.pool.begin().await?;
    assert_eq!(count(&mut *tx).await?, 3);
    assert_eq!(count_twice(&mut tx).await?, 6);
    assert_eq!(count_twice(&mut *tx).await?, 6);
    deepen(&mut *tx).await?;
    let savepoint = tx.begin().await?;
    savepoint.rollback().await?;
    tx.rollback().await?;

    let handle = ponds.clone();
    tokio::spawn(async move { handle.find(1).await }).await.unwrap()?;
    ponds.pool.close().await;
    assert!(matches!(ponds.find(1).await, Err(sqlx::Error::PoolClosed)));
    assert!(ponds.pool.is_closed());
    Ok(())
}
