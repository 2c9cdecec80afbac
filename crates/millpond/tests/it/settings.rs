//! Where a connection's settings come from, and how invalid ones are reported.

use crate::world::Directory;
use millpond::{ConnectError, DatabaseConnection, PoolKind, ResetLevel, Settings};
use std::fs;
use std::time::Duration;

#[tokio::test]
async fn the_builder_takes_settings_and_explains_them() {
    let db = DatabaseConnection::builder("sqlite::memory:")
        .pool_size(20)
        .max_overflow(40)
        .pool_timeout(Duration::from_secs(60))
        .pool_recycle(None)
        .pool_pre_ping(false)
        .set("db.leak_after", "10s")
        .connect_lazy()
        .unwrap();
    let pool = &db.settings().db.pool;
    assert_eq!((pool.pool_size, pool.max_overflow, pool.pool_timeout.as_secs()), (20, 40, 60));
    assert_eq!(
        (pool.pool_recycle, pool.pool_pre_ping, pool.leak_after),
        (None, false, Some(Duration::from_secs(10)))
    );
    let row = |setting| db.explain().row(setting).unwrap();
    assert_eq!(
        (row("db.pool_size").value.as_str(), row("db.pool_size").source.as_str()),
        ("20", "code")
    );
    assert_eq!(row("db.ping_timeout").source, "default");
}

#[tokio::test]
async fn a_file_of_settings_opens_a_database() {
    let files = Directory::new();
    let path = files.path().join("millpond.toml");
    let url = files.url("a.db");
    fs::write(
        &path,
        format!(
            "[storage]\nconnection_string = \"{url}\"\n[db]\npool_size = 3\npool = \"queue\"\n"
        ),
    )
    .unwrap();
    let db = DatabaseConnection::from_file(&path).await.unwrap();
    sqlx::query("CREATE TABLE t (n INTEGER)").execute(&db).await.unwrap();
    assert_eq!((db.status().pool_size, db.settings().db.kind), (3, Some(PoolKind::Queue)));
    assert!(files.path().join("a.db").exists());
}

#[tokio::test]
async fn the_environment_opens_a_database() {
    let loader = Settings::loader().no_file().environment([
        ("PSN_STORAGE_CONNECTION_STRING", "sqlite::memory:"),
        ("PSN_DB_POOL_SIZE", "7"),
    ]);
    let db = DatabaseConnection::load(loader).connect().await.unwrap();
    assert_eq!(db.settings().db.pool.pool_size, 7);
    assert_eq!(
        db.explain().row("db.pool_size").unwrap().source,
        "environment variable `PSN_DB_POOL_SIZE`"
    );
}

#[tokio::test]
async fn every_problem_of_the_settings_is_reported_at_once() {
    let error = DatabaseConnection::builder("sqlite::memory:")
        .pool_size(0)
        .max_overflow(101)
        .connect()
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("pool_size = 0") && text.contains("max_overflow = 101"), "{text}");
    assert!(matches!(error, ConnectError::Settings(error) if error.problems.len() == 2));
}

#[tokio::test]
async fn a_bad_url_is_reported_with_its_source_and_all_other_problems() {
    for (url, message) in [
        ("sqllite:///hunter2.db", "did you mean `sqlite://`?"),
        ("hunter2", "is not a URL"),
        ("oracle://u:hunter2@h/d", "`oracle://`"),
        ("oracle+cx://u:hunter2@h/d", "which no backend supports"),
        ("sqlite://u:hunter2@h/d", "no user and no host"),
        ("redis://:hunter2@h/0", "Redis"),
    ] {
        let environment = [("PSN_STORAGE_CONNECTION_STRING", url), ("PSN_DB_POOL_SIZE", "0")];
        let loader = Settings::loader().no_file().environment(environment);
        let error = DatabaseConnection::load(loader).connect_lazy().unwrap_err();
        let text = format!("{error}");
        assert!(text.contains("pool_size = 0") && text.contains(message), "{text}");
        assert!(
            text.contains(
                "storage.connection_string (environment variable `PSN_STORAGE_CONNECTION_STRING`)"
            ),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(text, format!("{error:?}"), "what `main` prints");
        assert!(
            matches!(error, ConnectError::Settings(error) if error.problems.len() == 2),
            "{text}"
        );
    }
}

#[tokio::test]
async fn without_a_url_the_error_names_the_setting() {
    let error = DatabaseConnection::load(Settings::loader().no_file().no_environment())
        .connect()
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::NoUrl));
    assert!(error.to_string().contains("PSN_STORAGE_CONNECTION_STRING"), "{error}");
}

#[cfg(not(feature = "mysql"))]
#[tokio::test]
async fn a_backend_that_is_off_is_named_with_its_feature_and_without_the_password() {
    let error =
        DatabaseConnection::connect("mysql://user:hunter2@localhost/dbname").await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("enable the feature `mysql`"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(matches!(sqlx::Error::from(error), sqlx::Error::Configuration(_)));
}

#[cfg(feature = "mysql")]
#[tokio::test]
async fn a_mysql_url_is_read_like_sqlalchemys_and_its_problems_reported_with_all_others() {
    for url in [
        "mysql+pymysql://u:hunter2@localhost/d?ssl_ca=/ca.pem",
        "mariadb+aiomysql://u:hunter2@localhost/d",
    ] {
        let db = DatabaseConnection::builder(url).connect_lazy().unwrap();
        assert_eq!(db.dialect(), millpond::Dialect::MySql);
        assert!(!format!("{db:?} {}", db.explain()).contains("hunter2"));
    }
    let url = "mysql://u:hunter2@localhost/d?ssl=require";
    let error = DatabaseConnection::builder(url)
        .pool(PoolKind::ReadWrite)
        .pool_size(0)
        .connect_lazy()
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("\"ssl\"") && text.contains("pool_size = 0"), "{text}");
    assert!(
        text.contains("db.pool = read-write (code) is not supported by MySQL; write `queue`"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_url_that_the_driver_refuses_is_an_error_before_anything_is_opened() {
    let files = Directory::new();
    let error = DatabaseConnection::builder(&format!("{}?no_such_parameter=1", files.url("a.db")))
        .connect_lazy()
        .unwrap_err();
    assert!(
        matches!(&error, ConnectError::Settings(error) if error.problems.len() == 1),
        "{error}"
    );
    assert!(error.to_string().contains("no_such_parameter"), "{error}");
    assert!(!files.path().join("a.db").exists());
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_postgresql_url_is_read_like_sqlalchemys_and_its_problems_reported_with_all_others() {
    for url in [
        "postgresql+asyncpg://u:hunter2@localhost/d?sslmode=require",
        "postgres://u:hunter2@localhost",
    ] {
        let db = DatabaseConnection::builder(url).connect_lazy().unwrap();
        assert_eq!(db.dialect(), millpond::Dialect::Postgres);
        assert!(!format!("{db:?} {}", db.explain()).contains("hunter2"));
    }
    let url = "postgresql://u:hunter2@localhost/d?ssl=require";
    let error = DatabaseConnection::builder(url)
        .pool(PoolKind::ReadWrite)
        .pool_size(0)
        .connect_lazy()
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("sslmode=require") && text.contains("pool_size = 0"), "{text}");
    assert!(
        text.contains("db.pool = read-write (code) is not supported by PostgreSQL; write `queue`"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn debug_shows_neither_url_nor_password() {
    let files = Directory::new();
    let builder = DatabaseConnection::builder(&files.url("hunter2.db"));
    assert!(!format!("{builder:?}").contains("hunter2"));
    let db = builder.connect_lazy().unwrap();
    assert!(!format!("{db:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_database_file_gets_a_null_pool_unless_another_pool_is_set() {
    let files = Directory::new();
    let opened = async |db: DatabaseConnection| {
        for _ in 0..3 {
            sqlx::query("SELECT 1").execute(&db).await.unwrap();
        }
        db.status().totals.created
    };
    let builder = || DatabaseConnection::builder(&files.url("a.db"));
    assert_eq!(opened(builder().connect_lazy().unwrap()).await, 3);
    assert_eq!(opened(builder().pool(PoolKind::Null).connect_lazy().unwrap()).await, 3);
    assert_eq!(opened(builder().pool(PoolKind::Queue).connect_lazy().unwrap()).await, 1);
    assert_eq!(
        opened(builder().pool(PoolKind::Queue).reset(ResetLevel::Replace).connect_lazy().unwrap())
            .await,
        3
    );
}

#[test]
fn the_pool_runs_on_the_runtime_given_to_the_builder() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    };
    let files = Directory::new();
    let home = runtime();
    let db = DatabaseConnection::builder(&files.url("a.db"))
        .pool(PoolKind::Queue)
        .runtime(home.handle().clone())
        .connect_lazy()
        .unwrap();
    for _ in 0..2 {
        // Each of these runtimes ends; a connection on the first one would end with it.
        runtime().block_on(sqlx::query("SELECT 1").execute(&db)).unwrap();
    }
    assert_eq!(db.status().totals.created, 1);
}
