//! `#[sqlx::test]` creates a database for a test, and a millpond pool can be built from its
//! options.

use crate::backend::{ConnectOptions, Db, NAME_OF_THE_DATABASE, Options};
use crate::support::server;
use sqlx::pool::PoolOptions;
use sqlx::testing::{TestArgs, TestFn};
use std::env;
use std::process::Command;

/// The body of a test with the attribute.
async fn the_test_has_its_own_database(
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

/// Runs the expansion of the attribute. The attribute itself is not used, because its tests panic
/// without a `DATABASE_URL`. A process cannot safely change its own environment, so another process
/// runs the test.
#[test]
fn sqlxs_test_attribute_works_with_a_millpond_pool() {
    let Some(server) = server() else { return };
    if env::var("DATABASE_URL").is_ok_and(|url| url == server.url) {
        static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("tests/migrations");
        let mut args = TestArgs::new("the_test_has_its_own_database");
        args.migrator(&MIGRATOR);
        let test: fn(_, _) -> _ = the_test_has_its_own_database;
        TestFn::run_test(test, args).unwrap();
        return;
    }
    let mut again = Command::new(env::current_exe().unwrap());
    again
        .args(["--exact", "fed_by_sqlx::sqlxs_test_attribute_works_with_a_millpond_pool"])
        .env("DATABASE_URL", &server.url);
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
