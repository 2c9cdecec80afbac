//! The redis-rs managers of bb8 and deadpool.

use bb8_redis::RedisConnectionManager;
use bb8_redis::redis::aio::MultiplexedConnection;
use bb8_redis::redis::{Client, RedisResult, cmd};
use millpond_compat::{Bb8, Deadpool};
use millpond_core::{BoxError, Manager};
use millpond_testkit::{Fixture, variable};
use std::sync::OnceLock;

/// The user name of one fixture's managers, by which the server distinguishes their connections.
struct User(OnceLock<String>);

impl User {
    const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn server() -> Result<String, String> {
        let name = "MILLPOND_TEST_REDIS_URL";
        let url = variable(name).ok_or_else(|| format!("no {name}"))?;
        Ok(url.trim_start_matches("redis://").to_owned())
    }

    /// Sends a command over a connection that is not counted.
    async fn ask(command: &[&str]) -> Result<String, BoxError> {
        let client = Client::open(format!("redis://{}", Self::server()?))?;
        let mut conn = client.get_multiplexed_async_connection().await?;
        Ok(cmd(command[0]).arg(&command[1..]).query_async(&mut conn).await?)
    }

    async fn url(&self) -> Result<String, String> {
        let server = Self::server()?;
        let user = self.0.get_or_init(|| format!("conformance-{:x}", fastrand::u64(..)));
        Self::ask(&["ACL", "SETUSER", user, "on", ">secret", "~*", "&*", "+@all"])
            .await
            .map_err(|error| error.to_string())?;
        Ok(format!("redis://{user}:secret@{server}"))
    }

    async fn open(&self) -> Result<usize, BoxError> {
        let user = format!(" user={} ", self.0.get().ok_or("not logged in")?);
        let clients = Self::ask(&["CLIENT", "LIST"]).await?;
        Ok(clients.lines().filter(|line| line.contains(&user)).count())
    }
}

/// A manager created from a URL, whose connections are those of redis-rs.
struct Over<M> {
    user: User,
    manager: fn(String) -> RedisResult<M>,
}

impl<M: Manager<Connection = MultiplexedConnection>> Fixture for Over<M> {
    type Manager = M;

    async fn manager(&self) -> Result<M, String> {
        (self.manager)(self.user.url().await?).map_err(|error| error.to_string())
    }

    async fn ask(&self, conn: &mut MultiplexedConnection, number: i64) -> Result<i64, BoxError> {
        Ok(cmd("ECHO").arg(number).query_async(conn).await?)
    }

    async fn kill(&self, conn: &mut MultiplexedConnection) -> Result<(), BoxError> {
        let id: i64 = cmd("CLIENT").arg("ID").query_async(conn).await?;
        let client = Client::open(format!("redis://{}", User::server()?))?;
        let mut other = client.get_multiplexed_async_connection().await?;
        let _: i64 = cmd("CLIENT").arg("KILL").arg("ID").arg(id).query_async(&mut other).await?;
        while cmd("PING").query_async::<String>(conn).await.is_ok() {}
        Ok(())
    }

    async fn open_at_server(&self) -> Result<usize, BoxError> {
        self.user.open().await
    }
}

fn of_bb8() -> Over<Bb8<RedisConnectionManager>> {
    Over { user: User::new(), manager: |url| RedisConnectionManager::new(url).map(Bb8::new) }
}

fn of_deadpool() -> Over<Deadpool<deadpool_redis::Manager>> {
    Over { user: User::new(), manager: |url| deadpool_redis::Manager::new(url).map(Deadpool::new) }
}

mod bb8 {
    millpond_testkit::conformance! { fixture = super::of_bb8(), can = [Answers, Dies, Counted] }
}

mod deadpool {
    millpond_testkit::conformance! {
        fixture = super::of_deadpool(),
        can = [Answers, Dies, Counted],
    }
}
