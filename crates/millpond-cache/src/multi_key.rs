//! Operations on several keys, which in a cluster are on several nodes.

use crate::cache::RedisCache;
use crate::codec::Codec;
use crate::entry::Lookup;
use crate::error::CacheError;
use crate::settings::ATTEMPTS_MAX;
use futures_util::future::{join_all, try_join_all};
use millpond_redis::{Bytes, ClusterNode, Command, RedisError, SharedRedisLease, slot_of};
use std::collections::BTreeMap;

/// The COUNT of one SCAN step.
const SCAN_COUNT: u32 = 1_000;

/// How many UNLINKs are in flight at once.
const UNLINK_COUNT: usize = 100;

impl<C: Codec> RedisCache<C> {
    /// Reads the entries of keys, in their order. Each slot of a cluster is asked by itself, so
    /// that a node that is down hides no key of another node.
    pub(crate) async fn read_entries(&self, keys: &[String]) -> Result<Vec<Lookup>, CacheError> {
        let is_cluster = self.pool().is_cluster();
        let mut slots: BTreeMap<u16, Vec<(usize, &str)>> = BTreeMap::new();
        for (at, key) in keys.iter().enumerate() {
            let slot = if is_cluster { slot_of(key.as_bytes()) } else { 0 };
            slots.entry(slot).or_default().push((at, key));
        }
        let stale = self.shared.settings.stale_millis();
        let asked = slots.into_values().map(async |places| {
            let (places, wanted): (Vec<usize>, Vec<&str>) = places.into_iter().unzip();
            let any = wanted.first().copied().unwrap_or_default();
            let lookups = self.ask(any, |lease| get(lease, &wanted, stale)).await?;
            let lookups = lookups.unwrap_or_else(|| vec![Lookup::Blind; wanted.len()]);
            Ok::<_, CacheError>(places.into_iter().zip(lookups))
        });
        let mut found = vec![Lookup::Nothing; keys.len()];
        for (at, lookup) in try_join_all(asked).await?.into_iter().flatten() {
            if let Some(place) = found.get_mut(at) {
                *place = lookup;
            }
        }
        Ok(found)
    }

    /// Removes keys on any nodes, in batches that each have the whole time limit. Returns how many
    /// existed.
    ///
    /// # Errors
    ///
    /// The first [`RedisError`]. The other keys are removed nevertheless, unless Redis does not
    /// answer in time.
    pub(crate) async fn unlink<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<u64, RedisError> {
        let mut sum = Ok(0);
        for some in keys.chunks(UNLINK_COUNT) {
            match self.in_time(ATTEMPTS_MAX, |lease| unlink(lease, some)).await {
                Ok(gone) => sum = sum.map(|sum| sum + gone),
                // Another batch would take as long.
                Err(error) if error.is_ambiguous() || matches!(error, RedisError::Pool(_)) => {
                    return Err(error);
                }
                Err(error) => sum = sum.and(Err(error)),
            }
        }
        sum
    }

    /// Removes every key with this prefix, on every node. Returns how many there were.
    ///
    /// # Errors
    ///
    /// The first [`RedisError`].
    pub(crate) async fn unlink_all(&self, prefix: &str) -> Result<u64, RedisError> {
        let lease = self.in_time(1, async |lease| Ok(lease)).await?;
        // It has the time of a connect, since it may have to connect.
        let nodes = lease.nodes_now().await?;
        drop(lease);
        let pattern = pattern(prefix);
        let gone = nodes.iter().map(|node| self.unlink_all_on(node, &pattern));
        Ok(try_join_all(gone).await?.into_iter().sum())
    }

    async fn unlink_all_on(&self, node: &ClusterNode, pattern: &str) -> Result<u64, RedisError> {
        let (mut cursor, mut gone) = ("0".to_owned(), 0);
        loop {
            let scan = Command::new("SCAN").arg(&cursor).arg("MATCH").arg(pattern);
            let scan = scan.arg("COUNT").arg(SCAN_COUNT);
            // Other programs may have written keys that are not text.
            let (next, keys): (String, Vec<Bytes>) = self
                .in_time(ATTEMPTS_MAX, |lease| {
                    let scan = scan.clone();
                    async move { lease.run_on(node, scan).await }
                })
                .await?;
            gone += self.unlink(&keys).await?;
            if next == "0" {
                return Ok(gone);
            }
            cursor = next;
        }
    }
}

/// Reads the entries of keys of one slot: one MGET, and a PTTL for each key if an entry may be
/// stale.
async fn get(
    lease: SharedRedisLease,
    keys: &[&str],
    stale: u64,
) -> Result<Vec<Lookup>, RedisError> {
    let keys = keys.iter().copied();
    let mget = Command::new("MGET").keys(keys.clone()).idempotent();
    let values = lease.run::<Vec<Option<Bytes>>>(mget);
    let left = async {
        if stale == 0 {
            return Ok(vec![None; keys.len()]);
        }
        let left =
            keys.map(|key| lease.run::<Option<i64>>(Command::new("PTTL").key(key).idempotent()));
        try_join_all(left).await
    };
    let (values, left) = tokio::try_join!(values, left)?;
    Ok(values.into_iter().zip(left).map(|(bytes, left)| Lookup::of(bytes, left, stale)).collect())
}

/// Removes keys on any nodes. Returns how many existed.
///
/// # Errors
///
/// The first [`RedisError`]; the other keys are removed nevertheless.
async fn unlink<K: AsRef<[u8]>>(lease: SharedRedisLease, keys: &[K]) -> Result<u64, RedisError> {
    let gone = keys
        .iter()
        .map(|key| lease.run::<u64>(Command::new("UNLINK").key(key.as_ref()).idempotent()));
    join_all(gone).await.into_iter().sum()
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
