//! Operations on several keys, which in a cluster are on several nodes.

use crate::entry::Look;
use futures_util::future::{join_all, try_join_all};
use millpond_redis::{
    Bytes, ClusterNode, Command, RedisError, SharedRedisLease, SharedRedisPool, slot_of,
};
use std::collections::BTreeMap;

/// The COUNT of one SCAN step.
const SCAN_COUNT: u32 = 1_000;

/// How many UNLINKs are in flight at once.
const UNLINK_COUNT: usize = 100;

/// Reads the entries of keys, in their order: one MGET for each slot, and a PTTL for each key if an
/// entry may be stale.
///
/// # Errors
///
/// The first [`RedisError`].
pub(crate) async fn get(
    lease: SharedRedisLease,
    keys: &[String],
    stale: u64,
) -> Result<Vec<Look>, RedisError> {
    let mut slots: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (at, key) in keys.iter().enumerate() {
        let slot = if lease.is_cluster() { slot_of(key.as_bytes()) } else { 0 };
        slots.entry(slot).or_default().push(at);
    }
    let lease = &lease;
    let asked = slots.into_values().map(async |places| {
        let wanted = places.iter().filter_map(|at| keys.get(*at));
        let values =
            lease.run::<Vec<Option<Bytes>>>(Command::new("MGET").keys(wanted.clone()).idempotent());
        let left = async {
            if stale == 0 {
                return Ok(vec![None; places.len()]);
            }
            let left = wanted
                .map(|key| lease.run::<Option<i64>>(Command::new("PTTL").key(key).idempotent()));
            try_join_all(left).await
        };
        let (values, left) = tokio::try_join!(values, left)?;
        let looks = values.into_iter().zip(left).map(|(bytes, left)| Look::of(bytes, left, stale));
        Ok::<_, RedisError>(places.iter().copied().zip(looks).collect::<Vec<_>>())
    });
    let mut found = vec![Look::Nothing; keys.len()];
    for (at, look) in try_join_all(asked).await?.into_iter().flatten() {
        if let Some(place) = found.get_mut(at) {
            *place = look;
        }
    }
    Ok(found)
}

/// Removes keys on any nodes. Returns how many existed.
///
/// # Errors
///
/// The first [`RedisError`]; the other keys are removed nevertheless.
pub(crate) async fn unlink<K: AsRef<[u8]>>(
    lease: SharedRedisLease,
    keys: &[K],
) -> Result<u64, RedisError> {
    let mut sum = Ok(0);
    // In batches, because the last commands of a very long one would exceed their time limit.
    for some in keys.chunks(UNLINK_COUNT) {
        let gone = some
            .iter()
            .map(|key| lease.run::<u64>(Command::new("UNLINK").key(key.as_ref()).idempotent()));
        let gone: Result<u64, RedisError> = join_all(gone).await.into_iter().sum();
        sum = sum.and_then(|sum| Ok(sum + gone?));
    }
    sum
}

/// Removes every key with this prefix, on every node.
///
/// # Errors
///
/// The first [`RedisError`].
pub(crate) async fn clear(pool: &SharedRedisPool, prefix: &str) -> Result<u64, RedisError> {
    let nodes = pool.acquire().await?.nodes();
    let pattern = pattern(prefix);
    let gone = try_join_all(nodes.iter().map(|node| clear_on(pool, node, &pattern))).await?;
    Ok(gone.into_iter().sum())
}

async fn clear_on(
    pool: &SharedRedisPool,
    node: &ClusterNode,
    pattern: &str,
) -> Result<u64, RedisError> {
    let lease = pool.acquire().await?;
    let (mut cursor, mut gone) = ("0".to_owned(), 0);
    loop {
        let scan = Command::new("SCAN")
            .arg(&cursor)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(SCAN_COUNT);
        // Other programs may have written keys that are not text.
        let (next, keys): (String, Vec<Bytes>) = lease.run_on(node, scan).await?;
        gone += unlink(pool.acquire().await?, &keys).await?;
        if next == "0" {
            return Ok(gone);
        }
        cursor = next;
    }
}

/// A glob pattern that matches keys with this prefix. Prefixes contain no special characters today;
/// escaping them keeps this function correct without that knowledge.
fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for character in prefix.chars() {
        if "*?[]\\^".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('*');
    pattern
}
