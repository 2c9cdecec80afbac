//! sqlx's checked queries on a millpond pool. `.sqlx` contains the types they are checked against,
//! so that compiling needs no server; `SQLX_OFFLINE` in `.cargo/config.toml` ensures that none is
//! used.

use crate::support::{one, server};

#[derive(Debug, PartialEq)]
struct Pond {
    id: i64,
    name: String,
    depth: i64,
}

#[tokio::test]
async fn checked_queries_run_on_the_pool_a_lease_and_a_transaction() {
    let Some(server) = server() else { return };
    let pool = one().connect(&server.schema("millpond_macros").await).await.unwrap();
    sqlx::migrate!("tests/migrations").run(&pool).await.unwrap();

    let found = sqlx::query!("SELECT id, name, depth FROM ponds WHERE name = $1", "founders");
    let founders = found.fetch_one(&pool).await.unwrap();
    assert_eq!((founders.name.as_str(), founders.depth), ("founders", 3));

    let mut tx = pool.begin().await.unwrap();
    let insert = sqlx::query!(
        "INSERT INTO ponds (name) VALUES ($1) RETURNING id, nullif(depth, 0) AS depth",
        "mill"
    );
    let mill = insert.fetch_one(&mut *tx).await.unwrap();
    assert_eq!((mill.id, mill.depth), (2, None));
    tx.commit().await.unwrap();

    let mut lease = pool.acquire().await.unwrap();
    let mill = sqlx::query_as!(Pond, "SELECT id, name, depth FROM ponds WHERE name = $1", "mill");
    let mill = mill.fetch_one(&mut *lease).await.unwrap();
    assert_eq!(mill, Pond { id: 2, name: "mill".into(), depth: 0 });
}
