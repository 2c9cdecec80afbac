//! A Redis server.

use super::judge;
use super::measured::{
    CONNECTS, Clock, Encryption, Measured, Memory, PINGS, WAIT_MAX, median, unix_time,
};
use super::tls::{self, Prelude};
use super::{memory, tcp};
use millpond::advice::{Deployment, Finding, ServerLimit};
use millpond::redis::{Command, RedisError, RedisLease, RedisPool, RedisPoolOptions};
use millpond::settings::RedisSettings;
use millpond::{Event, EventContext, Limits};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many connections are opened to see what one needs in this process.
const SAMPLE: u32 = 8;

/// Measures the server of a section, `redis` or `cache`.
///
/// # Errors
///
/// Returns why no connection could be opened, or a command failed; without secrets.
pub async fn diagnose(
    section: &str,
    settings: &RedisSettings,
    replicas: u32,
) -> Result<(Measured, Vec<Finding>), String> {
    let (setting, size) = match section {
        "redis" => ("redis.url", "redis.max_connections"),
        _ => ("cache.url", "cache.max_connections"),
    };
    let url = settings.url.as_ref().map_or("", |url| url.expose());
    let connects = Arc::new(Mutex::new(Vec::new()));
    let pool = open(url, settings, &connects).await.map_err(|error| error.to_string())?;
    let measured = measure(&pool, &connects).await;
    let _ = pool.close().await;
    let mut measured = measured.map_err(|error| error.to_string())?;
    let first = first_server(url);
    (measured.setting, measured.ceiling) = (setting, settings.max_connections.into());
    measured.encryption = encryption(url);
    if let Some((host, port)) = &first {
        measured.tcp = tcp::connect_time(host, *port).await;
        if matches!(measured.encryption, Encryption::On(_)) {
            measured.tls = tls::handshake_time(host, *port, Prelude::None).await;
        }
    }
    let deployment = Deployment::of_redis(size, settings.max_connections, replicas);
    let mut findings = judge::limits(&deployment, &measured);
    findings.extend(judge::memory(&deployment, measured.server_memory.as_ref()));
    findings.extend(judge::clock(measured.clock));
    let is_local = first.is_none_or(|(host, _)| tcp::is_local(&host));
    let help = "begin the URL with rediss://";
    findings.extend(judge::encryption(setting, &measured.encryption, is_local, false, help));
    Ok((measured, findings))
}

async fn open(
    url: &str,
    settings: &RedisSettings,
    connects: &Arc<Mutex<Vec<Duration>>>,
) -> Result<RedisPool, RedisError> {
    let note = Arc::clone(connects);
    RedisPoolOptions::new()
        .name("doctor")
        .limits(Limits::Off)
        .max_connections(settings.max_connections)
        .pool_timeout(WAIT_MAX)
        .observer(move |event: &Event, _: &EventContext<'_>| {
            if let Event::Connected { took, .. } = event {
                note.lock().unwrap_or_else(PoisonError::into_inner).push(*took);
            }
        })
        .connect(url)
        .await
}

async fn measure(
    pool: &RedisPool,
    connects: &Mutex<Vec<Duration>>,
) -> Result<Measured, RedisError> {
    let mut lease = pool.acquire().await?;
    let taken = || std::mem::take(&mut *connects.lock().unwrap_or_else(PoisonError::into_inner));
    taken();
    for _ in 0..CONNECTS {
        RedisLease::discard(lease);
        lease = pool.acquire().await?;
    }
    let connects = taken();
    let mut pings = Vec::new();
    for _ in 0..PINGS {
        let started = Instant::now();
        let _: String = lease.run(Command::new("PING")).await?;
        pings.push(started.elapsed());
    }
    let info: String = lease.run(Command::new("INFO")).await.unwrap_or_default();
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
    };
    let version = field("redis_version").unwrap_or("of unknown version");
    let own = u64::from(pool.status().open);
    let maxclients = match field("maxclients").and_then(|limit| limit.parse().ok()) {
        Some(limit) => Some(limit),
        None => configured(&mut lease).await,
    };
    Ok(Measured {
        server: format!("Redis {version}"),
        connect: median(connects),
        ping: median(pings),
        server_memory: server_memory(pool, &mut lease).await,
        client_memory: client_memory(pool).await,
        limits: maxclients.map(|limit| ServerLimit::new("maxclients", limit)).into_iter().collect(),
        open: field("connected_clients").and_then(|open| open.parse().ok()),
        own,
        clock: clock(&mut lease).await,
        ..Measured::default()
    })
}

/// Returns `maxclients` of a server before Redis 7, if the user may read it.
async fn configured(lease: &mut RedisLease) -> Option<u64> {
    let command = Command::new("CONFIG").arg("GET").arg("maxclients");
    let found: std::collections::HashMap<String, String> = lease.run(command).await.ok()?;
    found.get("maxclients")?.parse().ok()
}

/// Returns the memory of a new connection, as `CLIENT LIST` has it on another one, whose own list
/// makes it larger.
async fn server_memory(pool: &RedisPool, lease: &mut RedisLease) -> Option<Memory> {
    let mut other = pool.acquire().await.ok()?;
    let number: i64 = other.run(Command::new("CLIENT").arg("ID")).await.ok()?;
    let list: String = lease.run(Command::new("CLIENT").arg("LIST")).await.ok()?;
    Some(Memory { bytes: memory_of(&list, number)?, how: "CLIENT LIST, tot-mem" })
}

fn memory_of(list: &str, number: i64) -> Option<u64> {
    let own = format!("id={number} ");
    let line = list.lines().find(|line| line.starts_with(&own))?;
    line.split(' ').find_map(|field| field.strip_prefix("tot-mem="))?.parse().ok()
}

async fn client_memory(pool: &RedisPool) -> Option<Memory> {
    let (before, open) = (memory::own()?, pool.status().open);
    let mut held = Vec::new();
    for _ in 0..SAMPLE {
        held.push(pool.acquire().await.ok()?);
    }
    memory::grown(Some(before), memory::own(), pool.status().open.saturating_sub(open))
}

async fn clock(lease: &mut RedisLease) -> Option<Clock> {
    let before = unix_time();
    let (seconds, micros): (String, String) = lease.run(Command::new("TIME")).await.ok()?;
    let after = unix_time();
    let server = seconds.parse::<f64>().ok()? + micros.parse::<f64>().ok()? / 1e6;
    Some(Clock::new(server, before, after))
}

/// Returns whether a connection to this URL is encrypted. There is no fallback: it fails otherwise.
fn encryption(url: &str) -> Encryption {
    let scheme = url.split_once("://").map_or(url, |(scheme, _)| scheme);
    let is_on = scheme.starts_with("rediss") || scheme.starts_with("valkeys");
    if is_on { Encryption::On("on".to_owned()) } else { Encryption::Off }
}

/// Returns the first host of a URL and its port; `None` for a Unix socket.
fn first_server(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let servers = authority.rsplit_once('@').map_or(authority, |(_, servers)| servers);
    let first = servers.split(',').next().filter(|first| !first.is_empty())?;
    let default = if scheme.contains("sentinel") { 26379 } else { 6379 };
    let (host, port) = match first.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (first, default),
    };
    Some((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_server_of_a_url_is_found() {
        for (url, host, port) in [
            ("redis://h", "h", 6379),
            ("redis://:p%40w@h:7000/1", "h", 7000),
            ("rediss://[::1]/0", "::1", 6379),
            ("redis://[::1]:7000", "::1", 7000),
            ("redis-cluster://a:7001,b:7002", "a", 7001),
            ("redis-sentinel://a,b/mymaster", "a", 26379),
        ] {
            assert_eq!(first_server(url), Some((host.to_owned(), port)), "{url}");
        }
        assert_eq!(first_server("redis+unix:///run/redis.sock"), None);
    }

    #[test]
    fn the_memory_of_the_right_client_is_read() {
        let list = "id=12 addr=a tot-mem=100 rbs=1\nid=2 addr=b tot-mem=22400 rbs=1\n";
        assert_eq!(memory_of(list, 2), Some(22400));
        assert_eq!(memory_of(list, 1), None);
        assert_eq!(memory_of("id=1 addr=a", 1), None);
    }
}
