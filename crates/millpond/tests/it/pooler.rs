//! The setting `db.behind`: what it does behind a real PgBouncer, and what it conflicts with.

use millpond::{DatabaseConnection, Pooler, ResetLevel, Settings, postgres};

const CLIENTS: i64 = 16;

/// Returns the report on these variables, one problem per line; empty if they are valid.
fn message(url: &str, environment: &[(&str, &str)]) -> String {
    let url = ("PSN_STORAGE_CONNECTION_STRING", url);
    let loader = Settings::loader().no_file().environment(environment.iter().copied().chain([url]));
    DatabaseConnection::load(loader)
        .connect_lazy()
        .err()
        .map_or_else(String::new, |error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_pgbouncer_every_caller_gets_its_own_answer() {
    let Ok(url) = std::env::var("MILLPOND_TEST_PGBOUNCER_URL") else {
        println!("SKIP what PgBouncer does: no MILLPOND_TEST_PGBOUNCER_URL");
        return;
    };
    let environment =
        [("PSN_STORAGE_CONNECTION_STRING", url.as_str()), ("PSN_DB_BEHIND", "pgbouncer")];
    let db = DatabaseConnection::load(Settings::loader().no_file().environment(environment))
        .connect()
        .await
        .unwrap();
    assert_eq!(db.settings().db.behind, Pooler::PgBouncer);
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let db = db.clone();
            tokio::spawn(async move {
                // Two texts with the same types: a statement prepared for one can be executed in
                // place of the other.
                for n in client..client + 100 {
                    let (sql, factor) =
                        if n % 2 == 0 { ("SELECT $1 * 2", 2) } else { ("SELECT $1 * 3", 3) };
                    let answer: i64 = sqlx::query_scalar(sql).bind(n).fetch_one(&db).await.unwrap();
                    assert_eq!(answer, n * factor, "client {client}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut tx = db.begin().await.unwrap();
    let four: i64 =
        sqlx::query_scalar("SELECT $1 + 1").bind(3_i64).fetch_one(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(four, 4);
    let error = db.acquire().await.unwrap_err().to_string();
    assert!(error.contains("begin"), "{error}");
}

#[tokio::test]
async fn every_problem_of_a_pooler_is_in_the_one_report() {
    let bouncer = ("PSN_DB_BEHIND", "pgbouncer");
    let source = "(environment variable `PSN_DB_BEHIND`)";
    assert_eq!(message("postgresql://u:hunter2@h/d", &[bouncer]), "");
    #[cfg(feature = "mysql")]
    assert_eq!(
        message("mysql://u:hunter2@h/d", &[bouncer]),
        format!(
            "db.behind = pgbouncer {source} is not supported by MySQL; write `server`, or \
             leave it out"
        )
    );
    #[cfg(feature = "sqlite")]
    {
        let text = message(
            "sqlite::memory:",
            &[bouncer, ("PSN_DB_CANCEL_ABANDONED", "no"), ("PSN_DB_POOL_SIZE", "0")],
        );
        assert!(
            text.contains(&format!("db.behind = pgbouncer {source} is not supported by SQLite;")),
            "{text}"
        );
        assert!(
            text.contains("db.cancel_abandoned = false") && text.contains("db.pool_size = 0"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 3, "{text}");
    }
    let text = message("postgresql://u:hunter2@h/d?ssl=1", &[bouncer, ("PSN_DB_RESET", "session")]);
    assert!(
        text.contains("db.reset = session (environment variable `PSN_DB_RESET`) needs a session"),
        "{text}"
    );
    assert!(text.contains("storage.connection_string") && text.lines().count() == 2, "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let text = message("postgresql://u@h/d", &[("PSN_DB_BEHIND", "pgbounce")]);
    assert!(
        text.starts_with(&format!(
            "db.behind = pgbounce {source} is not understood: expected one of"
        )),
        "{text}"
    );
    assert!(text.ends_with("did you mean `pgbouncer`?"), "{text}");
}

#[tokio::test]
async fn the_report_refuses_the_resets_that_the_backend_refuses_and_no_other() {
    let url = "postgresql://u@h/d";
    for (word, level) in [
        ("none", ResetLevel::None),
        ("transaction", ResetLevel::Transaction),
        ("session", ResetLevel::Session),
        ("replace", ResetLevel::Replace),
    ] {
        let backend = postgres::PgPoolOptions::new().behind(Pooler::PgBouncer).reset(level);
        let text = message(url, &[("PSN_DB_BEHIND", "pgbouncer"), ("PSN_DB_RESET", word)]);
        assert_eq!(text.contains("db.reset"), backend.connect_lazy(url).is_err(), "{word}: {text}");
    }
}

#[tokio::test]
async fn hooks_are_refused_with_all_other_problems_and_those_of_a_step_at_build() {
    let builder =
        || DatabaseConnection::builder("postgresql://u@h/d").set("db.behind", Pooler::PgBouncer);
    let hooked = builder().pool_size(0).on_postgres_connect(|_, _| Box::pin(async { Ok(()) }));
    let error = hooked.connect_lazy().unwrap_err().to_string();
    assert!(
        error.contains("db.behind = pgbouncer (code) does not go together with hooks"),
        "{error}"
    );
    assert!(error.contains("pool_size = 0"), "{error}");
    let step = builder().postgres(|options| options.on_checkout(|_, _| Box::pin(async { Ok(()) })));
    let error = step.connect_lazy().unwrap_err().to_string();
    assert!(error.contains("behind a transaction pooler: hooks"), "{error}");
    let elsewhere = DatabaseConnection::builder("postgresql://u@h/d");
    elsewhere.on_postgres_connect(|_, _| Box::pin(async { Ok(()) })).connect_lazy().unwrap();
}
