//! `#[sqlx::test]` makes a database for a test and can feed a pool of ours with it.

use crate::backend::{ConnectOptions, Db, NAME_OF_THE_DATABASE, Options};
use crate::support::server;
use sqlx::pool::PoolOptions;
use sqlx::testing::{TestArgs, TestFn};
use std::env;
use std::process::Command;

/// What would stand below the attribute.
async fn it_has_a_database_of_its_own(
    _: PoolOptions<Db>,
    options: ConnectOptions,
) -> sqlx::Result<()> {
    let pool = Options::new().connect_with(options).await?;
    let name: String = sqlx::query_scalar(NAME_OF_THE_DATABASE).fetch_one(&pool).await?;
    assert!(name.starts_with("_sqlx_test_"), "{name}");
    assert_eq!(
        sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM ponds").fetch_one(&pool).await?,
        1
    );
    pool.close().await;
    Ok(())
}

/// What the attribute makes of it; it is not used itself, because its tests panic where there is no
/// `DATABASE_URL`. As a process cannot safely change its own, another one runs the test.
#[test]
fn sqlxs_attribute_for_tests_can_feed_a_pool() {
    let Some(server) = server() else { return };
    if env::var("DATABASE_URL").is_ok_and(|url| url == server.url) {
        static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("tests/migrations");
        let mut args = TestArgs::new("it_has_a_database_of_its_own");
        args.migrator(&MIGRATOR);
        let test: fn(_, _) -> _ = it_has_a_database_of_its_own;
        TestFn::run_test(test, args).unwrap();
        return;
    }
    let mut again = Command::new(env::current_exe().unwrap());
    again
        .args(["--exact", "fed_by_sqlx::sqlxs_attribute_for_tests_can_feed_a_pool"])
        .env("DATABASE_URL", &server.url);
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
