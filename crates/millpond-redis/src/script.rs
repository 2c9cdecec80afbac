//! Lua scripts, sent as text once and by their hash from then on.

use crate::client::RedisClient;
use crate::command::Command;
use crate::command::argument::Argument;
use crate::error::RedisError;
use crate::pool::{ATTEMPTS_MAX, SharedRedisPool};
use crate::value::{FromValue, Value};
use bytes::Bytes;
use millpond_core::Request;

/// A Lua script. It is called by the hash of its text; if the server does not know the hash (after
/// a restart, a failover, or on another node of a cluster), the text is sent.
///
/// ```no_run
/// use millpond_redis::{Script, SharedRedisPool};
///
/// # async fn example(pool: SharedRedisPool) -> Result<(), millpond_redis::RedisError> {
/// let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
/// let count: i64 = script.call(["visits"], [1]).run(&pool).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Script {
    text: Bytes,
    name: Bytes,
}

impl Script {
    /// Creates a script from its text.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let name = sha1_smol::Sha1::from(&text).digest().to_string();
        Self { text: text.into(), name: name.into() }
    }

    /// Creates a call. All keys that the script uses must be given; in a cluster they must share a
    /// slot.
    pub fn call<K: Argument, A: Argument>(
        &self,
        keys: impl IntoIterator<Item = K>,
        args: impl IntoIterator<Item = A>,
    ) -> ScriptCall {
        let keys: Vec<Bytes> = keys.into_iter().map(Argument::into_bytes).collect();
        let args: Vec<Bytes> = args.into_iter().map(Argument::into_bytes).collect();
        let command = |name: &'static str, script: &Bytes| {
            Command::new(name).arg(script).arg(keys.len()).keys(&keys).args(&args)
        };
        ScriptCall { by_name: command("EVALSHA", &self.name), by_text: command("EVAL", &self.text) }
    }
}

/// A script with its keys and arguments.
#[derive(Debug, Clone)]
#[must_use = "a script does nothing until it is run"]
pub struct ScriptCall {
    by_name: Command,
    by_text: Command,
}

impl ScriptCall {
    /// Runs it. If nothing of it could be sent, it is sent up to three times, over other
    /// connections.
    ///
    /// # Errors
    ///
    /// A [`RedisError`].
    ///
    /// # Cancel safety
    ///
    /// A script that was sent is executed; its answer is discarded.
    #[track_caller]
    pub fn run<T: FromValue>(
        self,
        pool: &SharedRedisPool,
    ) -> impl Future<Output = Result<T, RedisError>> + Send + use<T> {
        let (pool, request) = (pool.clone(), Request::here());
        async move {
            let mut attempt = 1;
            loop {
                let lease = pool.acquire_with(request).await?;
                match self.send(&lease).await {
                    Err(RedisError::NotSent { .. }) if attempt < ATTEMPTS_MAX => {
                        attempt += 1;
                        // The pool hears of other losses first.
                        tokio::task::yield_now().await;
                    }
                    outcome => return T::from_value(outcome?),
                }
            }
        }
    }

    async fn send(&self, client: &RedisClient) -> Result<Value, RedisError> {
        match client.send(&self.by_name).await {
            // The script was not executed.
            Err(RedisError::Server { code, message })
                if code == "NOSCRIPT" && message.starts_with("No matching script") =>
            {
                client.send(&self.by_text).await
            }
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_named_as_redis_names_it() {
        // `redis-cli SCRIPT LOAD 'return 1'`
        assert_eq!(Script::new("return 1").name, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}
