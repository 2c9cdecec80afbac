//! Hooks with the driver's own connection, pragmas, observers.

use crate::world::Directory;
use millpond::{
    CloseReason, DatabaseConnection, Dialect, Event, EventContext, PoolError, PoolKind, PragmaHook,
    RequestRefusal, pool_error,
};
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn a_pragma_holds_on_every_connection() {
    let files = Directory::new();
    let db = DatabaseConnection::builder(&files.url("a.db"))
        .pool(PoolKind::Queue)
        .pragma(PragmaHook::new().foreign_keys(true))
        .pragma(PragmaHook::new().cache_size(-1234))
        .connect()
        .await
        .unwrap();
    let mut leases = vec![db.acquire().await.unwrap(), db.acquire().await.unwrap()];
    for lease in &mut leases {
        let keys: i64 =
            sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(&mut *lease).await.unwrap();
        let size: i64 = sqlx::query_scalar("PRAGMA cache_size").fetch_one(lease).await.unwrap();
        assert_eq!((keys, size), (1, -1234));
    }
}

#[tokio::test]
async fn nothing_is_lent_within_a_transaction_that_a_checkout_hook_leaves_open() {
    let db = DatabaseConnection::builder("sqlite::memory:").on_checkout(|conn, _| {
        Box::pin(async move {
            sqlx::query("BEGIN").execute(&mut *conn).await?;
            Ok(())
        })
    });
    let error = db.connect().await.unwrap_err();
    assert!(error.to_string().contains("left a transaction open"), "{error}");
}

#[tokio::test]
async fn a_hook_gets_the_drivers_connection_before_the_first_caller() {
    let db = DatabaseConnection::builder("sqlite::memory:")
        .on_sqlite_connect(|conn, info| {
            Box::pin(async move {
                assert_eq!(info.id.get(), 1);
                sqlx::query("CREATE TABLE made_by_hook (n INTEGER)").execute(conn).await?;
                Ok(())
            })
        })
        .connect()
        .await
        .unwrap();
    sqlx::query("INSERT INTO made_by_hook VALUES (1)").execute(&db).await.unwrap();
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_postgresql_hook_runs_on_postgresql_connections_only() {
    let hooked = |url: &str| {
        DatabaseConnection::builder(url).on_postgres_connect(|conn, _| {
            Box::pin(async move {
                sqlx::query("SET application_name = 'hooked'").execute(conn).await?;
                Ok(())
            })
        })
    };
    hooked("sqlite::memory:").connect().await.unwrap();
    let Some(url) = millpond_testkit::variable("MILLPOND_TEST_POSTGRES_URL") else { return };
    let db = hooked(&url).connect().await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_setting('application_name')")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(name, "hooked");
}

#[tokio::test]
async fn hooks_for_every_database_run_at_all_five_hook_points() {
    for url in urls() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let note = |point: &'static str| {
            let heard = Arc::clone(&heard);
            move |dialect: Dialect| heard.lock().unwrap().push((point, dialect))
        };
        let [first, connect, checkout, checkin, close] =
            ["first", "connect", "checkout", "checkin", "close"].map(|point| Arc::new(note(point)));
        let db = DatabaseConnection::builder(&url)
            .pool(PoolKind::Queue)
            .on_first_connect(move |conn, _| {
                first(conn.dialect());
                Box::pin(async { Ok(()) })
            })
            .on_connect(move |conn, _| {
                connect(conn.dialect());
                Box::pin(async move {
                    let one: i64 = sqlx::query_scalar("SELECT 1").fetch_one(conn).await?;
                    assert_eq!(one, 1);
                    Ok(())
                })
            })
            .on_checkout(move |conn, _| {
                checkout(conn.dialect());
                Box::pin(async { Ok(()) })
            })
            .on_checkin(move |conn, _| {
                checkin(conn.dialect());
                Box::pin(async { Ok(()) })
            })
            .on_close(move |conn, _| {
                close(conn.dialect());
                Box::pin(async { Ok(()) })
            })
            .connect_lazy()
            .unwrap();
        drop(db.acquire().await.unwrap());
        assert!(db.close().await.is_clean());
        let heard = heard.lock().unwrap();
        let points: Vec<_> = heard.iter().map(|(point, _)| *point).collect();
        assert_eq!(
            points,
            ["first", "connect", "checkout", "checkin", "close"],
            "{}",
            db.dialect()
        );
        assert!(heard.iter().all(|(_, dialect)| *dialect == db.dialect()), "{heard:?}");
    }
}

#[tokio::test]
async fn the_hook_of_the_guide_sets_a_pragma_where_the_dialect_is_sqlite() {
    for url in urls() {
        let db = DatabaseConnection::builder(&url)
            .on_connect(|conn, _| {
                Box::pin(async move {
                    if conn.dialect().name() == "SQLite" {
                        sqlx::query("PRAGMA foreign_keys = ON").execute(conn).await?;
                    }
                    Ok(())
                })
            })
            .connect()
            .await
            .unwrap();
        if db.dialect() == Dialect::Sqlite {
            let keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(&db).await.unwrap();
            assert_eq!(keys, 1);
        }
    }
}

#[tokio::test]
async fn a_transaction_that_a_hook_leaves_open_reaches_no_caller() {
    for url in urls() {
        let db =
            DatabaseConnection::builder(&url).pool_size(1).max_overflow(0).on_connect(|conn, _| {
                Box::pin(async move {
                    sqlx::raw_sql("BEGIN").execute(conn).await?;
                    Ok(())
                })
            });
        let db = db.connect().await.unwrap();
        let tx = db.begin().await.unwrap_or_else(|error| panic!("{}: {error}", db.dialect()));
        tx.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn behind_a_pooler_hooks_are_refused_with_help() {
    let builder =
        DatabaseConnection::builder("postgresql://u:hunter2@h/d").set("db.behind", "pgbouncer");
    let error = builder.on_connect(|_, _| Box::pin(async { Ok(()) })).connect_lazy().unwrap_err();
    let expected = if cfg!(feature = "postgres") {
        "does not go together with hooks"
    } else {
        "the feature `postgres`"
    };
    assert!(error.to_string().contains(expected), "{error}");
}

/// Returns the URLs of an in-memory SQLite database and of the servers that are available.
fn urls() -> Vec<String> {
    let servers = [
        ("POSTGRES", cfg!(feature = "postgres")),
        ("MARIADB", cfg!(feature = "mysql")),
        ("MYSQL", cfg!(feature = "mysql")),
    ];
    let urls = servers.into_iter().filter_map(|(kind, is_on)| {
        millpond_testkit::variable(&format!("MILLPOND_TEST_{kind}_URL")).filter(|_| is_on)
    });
    [String::from("sqlite::memory:")].into_iter().chain(urls).collect()
}

#[tokio::test]
async fn the_error_of_a_hook_that_refuses_is_reported() {
    let error = DatabaseConnection::builder("sqlite::memory:")
        .pool_timeout(std::time::Duration::from_secs(1))
        .sqlite(|options| options.on_checkout(|_, _| Box::pin(async { Err("not today".into()) })))
        .connect()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not today"), "{error}");
    let error = sqlx::Error::from(error);
    assert!(pool_error(&error).is_some());
}

#[tokio::test]
async fn a_hook_that_refuses_permanently_fails_the_connect_at_once() {
    // Otherwise it would retry until the default `pool_timeout` of 30 s.
    let began = std::time::Instant::now();
    let error = DatabaseConnection::builder("sqlite::memory:")
        .on_sqlite_connect(|_, _| {
            Box::pin(async { Err(sqlx::Error::Configuration("not migrated".into()).into()) })
        })
        .connect()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not migrated"), "{error}");
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
}

#[tokio::test]
async fn observers_get_the_events_of_both_pools_by_name() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&heard);
    let files = Directory::new();
    let db = DatabaseConnection::builder(&files.url("a.db"))
        .name("orders")
        .pool(PoolKind::ReadWrite)
        .observer(move |event: &Event, context: &EventContext<'_>| {
            if let Event::Closed { reason: CloseReason::PoolClosed, .. } = event {
                note.lock().unwrap().push(context.pool.to_owned());
            }
        })
        .connect()
        .await
        .unwrap();
    sqlx::query("SELECT 1").execute(&db).await.unwrap();
    assert!(db.close().await.is_clean());
    let mut heard = heard.lock().unwrap().clone();
    heard.sort();
    assert_eq!(heard, ["orders-reader", "orders-writer"]);
}

#[tokio::test]
async fn a_request_that_a_hook_refuses_gets_the_hooks_error() {
    let calls = Arc::new(Mutex::new(0));
    let count = Arc::clone(&calls);
    let db = DatabaseConnection::builder("sqlite::memory:").sqlite(|options| {
        options.on_checkout(move |_, _| {
            *count.lock().unwrap() += 1;
            let refuses = *count.lock().unwrap() % 2 == 0;
            Box::pin(async move {
                if refuses {
                    Err(RequestRefusal::new("the tenant is suspended").into())
                } else {
                    Ok(())
                }
            })
        })
    });
    let db = db.connect().await.unwrap();
    let error = sqlx::query("SELECT 1").execute(&db).await.unwrap_err();
    assert!(matches!(pool_error(&error), Some(PoolError::RequestRefused(_))), "{error:?}");
    assert!(error.to_string().ends_with("the tenant is suspended"), "{error}");
    sqlx::query("SELECT 1").execute(&db).await.unwrap();
    assert_eq!(db.status().totals.created, 1);
}
