//! A database server, through the pool of the service: what PostgreSQL and MySQL have in common.

use super::answers::{Address, Answers};
use super::judge;
use super::measured::{CONNECTS, DATABASE, Encryption, Measured, Memory, PINGS, WAIT_MAX, median};
use super::{memory, mysql, postgres, tcp, tls};
use millpond::advice::{Deployment, Finding, Severity};
use millpond::{
    DatabaseConnection, Dialect, Event, EventContext, Invalidate, Loader, Pooler, Settings,
};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many connections are opened to see what one needs in this process, at most.
const SAMPLE: u32 = 8;

/// What the pool's events say.
#[derive(Default)]
struct Heard {
    connects: Vec<Duration>,
    warnings: Vec<(&'static str, String)>,
}

/// Measures the server through a pool like that of the service.
///
/// # Errors
///
/// Returns why no connection could be opened, or a query failed; without secrets.
pub async fn diagnose(
    loader: Loader,
    settings: &Settings,
    replicas: u32,
) -> Result<(Measured, Vec<Finding>), String> {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let database = open(loader, settings, &heard).await?;
    let measured = measure(&database, &heard).await;
    let _ = database.close().await;
    let mut measured = measured.map_err(|error| error.to_string())?;
    let address = address(settings, database.dialect());
    if let Some(Address { host, port, prelude, .. }) = &address
        && !host.starts_with('/')
    {
        measured.tcp = tcp::connect_time(host, *port).await;
        if matches!(measured.encryption, Encryption::On(_)) {
            measured.tls = tls::handshake_time(host, *port, *prelude).await;
        }
    }
    let deployment = Deployment::of_pool(&settings.db.pool, replicas);
    let mut findings = judge::limits(&deployment, &measured);
    findings.extend(judge::memory(&deployment, measured.server_memory.as_ref()));
    findings.extend(judge::clock(measured.clock));
    if let Some(Address { host, tls_help, may_fall_back, .. }) = &address {
        let (is_local, is) = (tcp::is_local(host), &measured.encryption);
        findings.extend(judge::encryption(DATABASE, is, is_local, *may_fall_back, tls_help));
    }
    findings.extend(warned(settings, &heard));
    Ok((measured, findings))
}

async fn open(
    loader: Loader,
    settings: &Settings,
    heard: &Arc<Mutex<Heard>>,
) -> Result<DatabaseConnection, String> {
    let note = Arc::clone(heard);
    let limit = settings.db.pool.pool_timeout.min(WAIT_MAX);
    let loader = loader
        .set("db.pool_timeout", limit)
        // Must be less than `pool_timeout`.
        .set("db.overflow_after", 0)
        // Connections that nobody asks for would be measured too.
        .set("db.min_idle", "auto");
    DatabaseConnection::load(loader)
        .name("doctor")
        .observer(move |event: &Event, _: &EventContext<'_>| match event {
            Event::Connected { took, .. } => locked(&note).connects.push(*took),
            Event::Warned { setting, message } => {
                locked(&note).warnings.push((*setting, message.clone()));
            }
            _ => {}
        })
        .connect()
        .await
        .map_err(|error| error.to_string())
}

async fn measure(database: &DatabaseConnection, heard: &Mutex<Heard>) -> sqlx::Result<Measured> {
    // The first connection also finds out about the server, which later ones do not.
    locked(heard).connects.clear();
    for _ in 0..CONNECTS {
        database.invalidate_all(Invalidate::Soft);
        // Behind a pooler there is no lease without a transaction.
        database.begin().await?.rollback().await?;
    }
    let connects = mem::take(&mut locked(heard).connects);
    let pings = pings(database).await?;
    let answers = ask(database).await?;
    let own = u64::from(database.status().open);
    Ok(Measured {
        setting: DATABASE,
        server: answers.server,
        connect: median(connects),
        tcp: None,
        tls: None,
        ping: median(pings),
        server_memory: answers.memory,
        client_memory: client_memory(database).await,
        cache: None,
        encryption: answers.encryption,
        limits: answers.limits,
        open: answers.open,
        ceiling: match database.dialect() {
            // In memory there is one connection.
            Dialect::Sqlite => 1,
            _ => database.settings().db.pool.limit().into(),
        },
        own,
        clock: answers.clock,
    })
}

/// In a transaction, since nothing else has a connection of its own behind a pooler.
async fn pings(database: &DatabaseConnection) -> sqlx::Result<Vec<Duration>> {
    let mut transaction = database.begin().await?;
    let mut pings = Vec::new();
    for _ in 0..PINGS {
        let started = Instant::now();
        sqlx::query("SELECT 1").execute(&mut transaction).await?;
        pings.push(started.elapsed());
    }
    transaction.rollback().await?;
    Ok(pings)
}

/// Asks by single queries on the pool, so that one that is refused does not affect the others.
async fn ask(database: &DatabaseConnection) -> sqlx::Result<Answers> {
    if let Some(pool) = database.as_postgres() {
        let answers = postgres::ask(pool).await?;
        // A server behind a pooler only knows how the pooler is connected to it.
        let is_pooled = database.settings().db.behind == Pooler::PgBouncer;
        let encryption = if is_pooled { Encryption::Unknown } else { answers.encryption };
        return Ok(Answers { encryption, ..answers });
    }
    if let Some(pool) = database.as_mysql() {
        return mysql::ask(pool).await;
    }
    // An SQLite database in memory: one connection of this process.
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(database).await?;
    Ok(Answers { server: format!("SQLite {version}, in memory"), ..Answers::default() })
}

/// Opens several connections beside the one that is idle, and measures how this process grows.
/// `None` if the server does not accept so many, or there is no such measure; behind a pooler too,
/// whose server connections are few.
async fn client_memory(database: &DatabaseConnection) -> Option<Memory> {
    if database.settings().db.behind == Pooler::PgBouncer {
        return None;
    }
    let before = memory::own()?;
    let (open, room) = (database.status().open, database.status().pool_size.min(SAMPLE));
    let mut held = Vec::new();
    for _ in 0..room {
        held.push(database.acquire().await.ok()?);
    }
    let opened = database.status().open.saturating_sub(open);
    memory::grown(Some(before), memory::own(), opened)
}

fn address(settings: &Settings, dialect: Dialect) -> Option<Address> {
    let url = settings.storage.connection_string.as_ref()?.expose();
    match dialect {
        Dialect::Postgres => postgres::address(url),
        Dialect::MySql => mysql::address(url),
        _ => None,
    }
}

/// Returns the pool's own warnings: a pooler, a server that ends idle sessions. The number of
/// connections is compared with all replicas, and conflicts are reported with their sources.
fn warned(settings: &Settings, heard: &Mutex<Heard>) -> Vec<Finding> {
    let config = &settings.db.pool;
    let conflicts = config.null_conflicts().into_iter().chain(config.conflicts());
    let known: Vec<_> = conflicts.map(|conflict| conflict.to_string()).collect();
    let warnings = mem::take(&mut locked(heard).warnings).into_iter();
    let warnings =
        warnings.filter(|(setting, message)| *setting != "pool_size" && !known.contains(message));
    let to_finding = |(setting, message): (&str, String)| {
        let (message, help) = message.split_once("; ").unwrap_or((&message, ""));
        Finding::new(Severity::Warning, format!("db.{setting}"), message, help)
    };
    warnings.map(to_finding).collect()
}

fn locked(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
