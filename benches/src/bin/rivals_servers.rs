//! Compares the pools end to end; prints a line of JSON for each row and pool. Started by `cargo
//! xtask rivals`, which also starts the servers: `rivals_servers [--quick]`, with the variables of
//! `cargo xtask servers` set.

use benches::competitor::Effort;
use benches::service::{Contender, Crowd, Turn};
use benches::services::{postgres, redis, sqlite};
use benches::work::runtime;
use std::env;
use std::fs;
use std::io;

fn main() -> io::Result<()> {
    let effort = if env::args().any(|arg| arg == "--quick") { Effort::QUICK } else { Effort::FULL };
    on_sqlite(&effort)?;
    if let Ok(url) = env::var("MILLPOND_TEST_POSTGRES_URL") {
        on_postgres(&url, &effort);
    }
    if let Ok(url) = env::var("MILLPOND_TEST_REDIS_URL") {
        on_redis(&url, &effort);
    }
    Ok(())
}

fn on_postgres(url: &str, effort: &Effort) {
    use postgres::{Bare, Deadpool, Millpond, Sqlx};
    let pools = [Contender::of::<Millpond>(), Contender::of::<Sqlx>(), Contender::of::<Deadpool>()];
    let crowd = Crowd { row: "pg_select64", tail: None, url, tasks: 64, turn: Turn::Query };
    crowd.race(&pools, effort);
    let [millpond, sqlx, deadpool] = pools;
    Crowd { row: "pg_select10", tasks: 10, ..crowd }
        .race(&[millpond, sqlx, deadpool, Contender::of::<Bare>()], effort);
    Crowd { row: "pg_raw64", turn: Turn::Raw, ..crowd }.race(&pools, effort);
}

fn on_redis(url: &str, effort: &Effort) {
    use redis::{Deadpool, Fred, FredExclusive, Millpond, MillpondRs, Shared, SharedRs};
    runtime(1).block_on(redis::fill(url));
    let ours = [Contender::of::<Millpond>(), Contender::of::<MillpondRs>()];
    let pools = [ours[0], ours[1], Contender::of::<Deadpool>(), Contender::of::<FredExclusive>()];
    let crowd = Crowd {
        row: "redis_get64",
        tail: Some("redis_get64_p999"),
        url,
        tasks: 64,
        turn: Turn::Query,
    };
    crowd.race(&pools, effort);
    Crowd { row: "redis_get10", tail: Some("redis_get10_p999"), tasks: 10, ..crowd }
        .race(&pools, effort);
    let pools = [Contender::of::<Shared>(), Contender::of::<SharedRs>(), Contender::of::<Fred>()];
    Crowd { row: "redis_shared64", tail: Some("redis_shared64_p999"), ..crowd }
        .race(&pools, effort);
}

fn on_sqlite(effort: &Effort) -> io::Result<()> {
    use sqlite::{Millpond, Sqlx};
    let directory = env::temp_dir().join(format!("millpond-rivals-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let path = directory.join("ponds.db");
    runtime(1).block_on(sqlite::fill(&path));
    let url = path.to_str().unwrap_or_default();
    let crowd = Crowd { row: "sqlite_read64", tail: None, url, tasks: 64, turn: Turn::Query };
    crowd.race(&[Contender::of::<Millpond>(), Contender::of::<Sqlx>()], effort);
    fs::remove_dir_all(&directory)
}
