//! sqlx's features work on `&db`, on every database.

use crate::world::{databases, everywhere, names, schema, servers, users, users_in_memory};
use futures_util::TryStreamExt;
use millpond::DatabaseConnection;
use sqlx::error::ErrorKind;
use sqlx::{Any, Executor, FromRow, QueryBuilder, Row};
use std::time::Duration;

#[derive(Debug, FromRow, PartialEq)]
struct User {
    id: i64,
    name: String,
}

#[tokio::test]
async fn rows_go_in_and_come_out() {
    for db in users(&["Ada", "Grace"]).await {
        let row = sqlx::query("SELECT id, name FROM users WHERE name = $1")
            .bind("Grace")
            .fetch_one(&db)
            .await
            .unwrap();
        assert_eq!((row.get::<i64, _>("id"), row.get::<String, _>(1)), (2, "Grace".to_owned()));
        let nobody = sqlx::query("SELECT id FROM users WHERE name = $1")
            .bind("Bob")
            .fetch_optional(&db)
            .await
            .unwrap();
        assert!(nobody.is_none());
        assert!(matches!(
            sqlx::query("SELECT 1 WHERE false").fetch_one(&db).await,
            Err(sqlx::Error::RowNotFound)
        ));
    }
}

#[tokio::test]
async fn a_derived_from_row_works_and_finds_columns_by_name() {
    for db in users(&["Ada"]).await {
        let users: Vec<User> =
            sqlx::query_as("SELECT name, id FROM users").fetch_all(&db).await.unwrap();
        assert_eq!(users, [User { id: 1, name: "Ada".to_owned() }]);
    }
}

#[tokio::test]
async fn a_stream_dropped_midway_gives_its_connection_back() {
    for db in users(&["Ada", "Grace", "Edsger"]).await {
        let mut stream =
            sqlx::query_as::<_, User>("SELECT id, name FROM users ORDER BY id").fetch(&db);
        let first = stream.try_next().await.unwrap().unwrap().name;
        assert_eq!(db.status().in_use, 1);
        drop(stream);
        assert_eq!(first, "Ada");
        assert_eq!(names(&db).await.len(), 3);
        assert_eq!(db.status().in_use, 0);
    }
}

#[tokio::test]
async fn the_query_builder_of_any_builds_statements_that_run() {
    for db in users(&[]).await {
        let mut insert = QueryBuilder::<Any>::new("INSERT INTO users (name) ");
        insert.push_values(["Ada", "what? $1"], |mut row, name| {
            row.push_bind(name);
        });
        assert_eq!(insert.build().execute(&db).await.unwrap().rows_affected(), 2);
        assert_eq!(names(&db).await, ["Ada", "what? $1"]);
    }
}

async fn count<'c>(executor: impl Executor<'c, Database = Any>) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(executor).await.unwrap()
}

#[tokio::test]
async fn a_function_over_executors_takes_the_pool_a_lease_and_a_transaction() {
    for db in users(&["Ada"]).await {
        assert_eq!(count(&db).await, 1);
        let mut lease = db.acquire().await.unwrap();
        assert_eq!(count(&mut lease).await, 1);
        assert_eq!(count(&mut *lease).await, 1);
        drop(lease);
        let mut tx = db.begin().await.unwrap();
        assert_eq!(count(&mut tx).await, 1);
        assert_eq!(count(&mut *tx).await, 1);
    }
}

#[tokio::test]
async fn queries_can_be_spawned() {
    for db in users(&["Ada"]).await {
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let db = db.clone();
                tokio::spawn(async move {
                    sqlx::query("INSERT INTO users (name) VALUES ($1)")
                        .bind(format!("user {n}"))
                        .execute(&db)
                        .await
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(count(&db).await, 21);
    }
}

#[tokio::test]
async fn a_stream_can_be_spawned_and_kept() {
    fn numbers(
        db: &DatabaseConnection,
    ) -> futures_core::stream::BoxStream<'static, sqlx::Result<sqlx::any::AnyRow>> {
        sqlx::query("SELECT id FROM users ORDER BY id").fetch(db)
    }
    for db in users(&["Ada", "Grace"]).await {
        let stream = numbers(&db);
        let rows = tokio::spawn(stream.try_collect::<Vec<_>>()).await.unwrap().unwrap();
        assert_eq!(rows.len(), 2);
    }
}

#[tokio::test]
async fn the_key_of_an_added_row_is_reported_and_no_other() {
    let db = users_in_memory(&["Ada"]).await;
    let outcome = async |sql: &'static str| {
        let result = sqlx::query(sql).execute(&db).await.unwrap();
        (result.rows_affected(), result.last_insert_id())
    };
    assert_eq!(outcome("INSERT INTO users (name) VALUES ('Grace')").await, (1, Some(2)));
    assert_eq!(
        outcome("INSERT INTO users VALUES (40, 'Edsger'), (41, 'Barbara');").await,
        (2, Some(41))
    );
    assert_eq!(
        outcome("WITH n(name) AS (VALUES ('Niklaus')) INSERT INTO users (name) SELECT name FROM n")
            .await,
        (1, Some(42))
    );
    assert_eq!(outcome("INSERT OR IGNORE INTO users (name) VALUES ('Ada')").await, (0, None));
    // The driver would repeat 42 for each of these statements.
    assert_eq!(outcome("UPDATE users SET name = 'Ada L.' WHERE id = 1").await, (1, None));
    assert_eq!(
        outcome("INSERT INTO users VALUES (1, 'x') ON CONFLICT DO UPDATE SET name = 'Ada K.'")
            .await,
        (1, None)
    );
    assert_eq!(outcome("DELETE FROM users WHERE id > 40").await, (2, None));
}

#[tokio::test]
async fn a_statement_that_changes_no_row_does_not_repeat_what_an_earlier_one_changed() {
    let db = users_in_memory(&["Ada", "Grace"]).await;
    assert_eq!(
        sqlx::query("UPDATE users SET id = id + 10").execute(&db).await.unwrap().rows_affected(),
        2
    );
    for sql in ["SELECT 1", "CREATE TABLE empty (n INTEGER)", "PRAGMA user_version"] {
        let result = sqlx::query(sql).execute(&db).await.unwrap();
        assert_eq!((result.rows_affected(), result.last_insert_id()), (0, None), "{sql}");
    }
}

#[tokio::test]
async fn each_of_several_statements_counts_its_own_changed_rows() {
    for db in users(&["Ada", "Grace"]).await {
        let changed = async |sql: &'static str| {
            sqlx::raw_sql(sql).execute(&db).await.unwrap().rows_affected()
        };
        assert_eq!(changed("UPDATE users SET id = id + 100").await, 2);
        for (sql, rows) in [
            ("SELECT 1; SELECT 2", 0),
            ("UPDATE users SET id = id + 100; SELECT id FROM users", 2),
            ("SELECT id FROM users; UPDATE users SET id = id + 100; SELECT 1", 2),
            ("DELETE FROM users WHERE name = 'Ada'; UPDATE users SET id = id + 100; SELECT 1", 2),
        ] {
            assert_eq!(changed(sql).await, rows, "{}: {sql}", db.dialect());
        }
    }
    let db = users_in_memory(&["Ada", "Grace"]).await;
    let script = "UPDATE users SET name = name || '!'; CREATE TRIGGER g AFTER DELETE ON users \
        BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; UPDATE users SET id = 7; END; SELECT 1";
    assert_eq!(sqlx::raw_sql(script).execute(&db).await.unwrap().rows_affected(), 2);
}

#[tokio::test]
async fn rows_changed_by_procedures_and_prepared_statements_count() {
    for db in databases().await {
        sqlx::query("CREATE TABLE users (id BIGINT)").execute(&db).await.unwrap();
        let procedure = "CREATE PROCEDURE add_two() INSERT INTO users VALUES (1), (2)";
        sqlx::raw_sql(procedure).execute(&db).await.unwrap();
        let called = sqlx::raw_sql("CALL add_two()").execute(&db).await.unwrap();
        assert_eq!(called.rows_affected(), 2, "{}", db.dialect());
        let read = sqlx::raw_sql("SELECT * FROM users").execute(&db).await.unwrap();
        assert_eq!(read.rows_affected(), 0);
    }
    if let Some(db) = schema().await {
        let mut lease = db.acquire().await.unwrap();
        let prepared = "CREATE TABLE t (i INT); PREPARE add_two AS INSERT INTO t VALUES (1), (2)";
        lease.execute(sqlx::raw_sql(prepared)).await.unwrap();
        let added = lease.execute(sqlx::raw_sql("EXECUTE add_two")).await.unwrap();
        assert_eq!(added.rows_affected(), 2);
        let read = lease.execute(sqlx::raw_sql("TABLE t; SHOW timezone")).await.unwrap();
        assert_eq!(read.rows_affected(), 0);
    }
}

#[tokio::test]
async fn a_violated_constraint_is_reported_by_its_kind() {
    for db in users(&["Ada"]).await {
        let error =
            sqlx::query("INSERT INTO users (name) VALUES ('Ada')").execute(&db).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().kind(), ErrorKind::UniqueViolation);
    }
}

#[tokio::test]
async fn several_statements_may_have_different_columns() {
    for db in users(&["Ada"]).await {
        let rows = sqlx::raw_sql("SELECT 1 AS a; SELECT name AS b, 2 AS c FROM users;")
            .fetch_all(&db)
            .await
            .unwrap();
        assert_eq!(rows[0].get::<i64, _>("a"), 1);
        assert_eq!((rows[1].get::<&str, _>("b"), rows[1].get::<i64, _>("c")), ("Ada", 2));
    }
}

#[tokio::test]
async fn a_statement_can_be_prepared_and_described() {
    use sqlx::{Column, Statement, TypeInfo};
    for db in users(&["Ada"]).await {
        let statement = (&db)
            .prepare(sqlx::SqlSafeStr::into_sql_str("SELECT id, name FROM users WHERE name = $1"))
            .await
            .unwrap();
        assert_eq!(
            statement.columns().iter().map(Column::name).collect::<Vec<_>>(),
            ["id", "name"]
        );
        let parameters =
            statement.parameters().map(|parameters| parameters.either(<[_]>::len, |count| count));
        assert_eq!(parameters, Some(1));
        let row = statement.query().bind("Ada").fetch_one(&db).await.unwrap();
        assert_eq!(row.get::<i64, _>("id"), 1);
        let described = (&db)
            .describe(sqlx::SqlSafeStr::into_sql_str("SELECT id, name FROM users"))
            .await
            .unwrap();
        assert_eq!(described.columns()[1].type_info().name(), "TEXT");
    }
}

#[tokio::test]
async fn migrations_run() {
    use sqlx::migrate::{Migration, MigrationType, Migrator};
    for db in everywhere().await {
        let migration = |version, sql: &'static str| {
            Migration::new(
                version,
                "test".into(),
                MigrationType::Simple,
                sqlx::SqlSafeStr::into_sql_str(sql),
                false,
            )
        };
        let migrator = Migrator::with_migrations(vec![
            migration(1, "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)"),
            migration(2, "INSERT INTO users VALUES (1, 'Ada')"),
        ]);
        db.migrate(&migrator).await.unwrap();
        db.migrate(&migrator).await.unwrap();
        assert_eq!(names(&db).await, ["Ada"]);
    }
}

#[tokio::test]
async fn migrations_that_fail_do_not_lock_out_those_of_another_process() {
    use sqlx::migrate::{Migration, MigrationType, Migrator};
    // An in-memory database has no other process.
    for db in servers().await {
        let migrator = |sql: &'static str| {
            let sql = sqlx::SqlSafeStr::into_sql_str(sql);
            Migrator::with_migrations(vec![Migration::new(
                1,
                "test".into(),
                MigrationType::Simple,
                sql,
                false,
            )])
        };
        db.migrate(&migrator("CREATE PUDDLE users")).await.unwrap_err();
        // Where such a statement is not part of a transaction, sqlx requires a manual check after
        // the failure.
        sqlx::query("DELETE FROM _sqlx_migrations").execute(&db).await.unwrap();
        let url = db.settings().storage.connection_string.clone().unwrap();
        let other = DatabaseConnection::connect(url.expose()).await.unwrap();
        let migrator = migrator("CREATE TABLE users (id INTEGER)");
        let migrated =
            tokio::time::timeout(Duration::from_secs(20), other.migrate(&migrator)).await;
        migrated.expect("the migrations are locked").unwrap();
    }
}
