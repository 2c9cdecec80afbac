//! The managers keep what the conformance suite asks of every manager.

use crate::support::variable;
use millpond_core::BoxError;
use millpond_redis::{Command, RedisClient, RedisConnection, RedisManager, SharedRedisManager};
use millpond_testkit::Fixture;
use std::sync::Arc;

/// The server that a variable names.
struct Server(&'static str);

impl Server {
    fn url(&self) -> Result<String, String> {
        variable(self.0).ok_or_else(|| format!("no {}", self.0))
    }
}

fn echo(number: i64) -> Command {
    Command::new("ECHO").arg(number)
}

impl Fixture for Server {
    type Manager = RedisManager;

    async fn manager(&self) -> Result<RedisManager, String> {
        Ok(RedisManager::new(self.url()?.parse().map_err(|error: millpond_redis::UrlError| error.to_string())?))
    }

    async fn ask(&self, conn: &mut RedisConnection, number: i64) -> Result<i64, BoxError> {
        Ok(conn.run(echo(number)).await?)
    }

    async fn kill(&self, conn: &mut RedisConnection) -> Result<(), BoxError> {
        let id: i64 = conn.run(Command::new("CLIENT").arg("ID")).await?;
        let kill = Command::new("CLIENT").args(["KILL", "ID"]).arg(id).args(["SKIPME", "no"]);
        let _ = conn.run::<()>(kill).await;
        while conn.run::<()>(Command::new("PING")).await.is_ok() {}
        Ok(())
    }
}

/// The same, shared.
struct Shared(Server);

impl Fixture for Shared {
    type Manager = SharedRedisManager;

    async fn manager(&self) -> Result<SharedRedisManager, String> {
        Ok(SharedRedisManager::new(self.0.url()?.parse().map_err(|error: millpond_redis::UrlError| error.to_string())?))
    }

    async fn ask(&self, conn: &mut Arc<RedisClient>, number: i64) -> Result<i64, BoxError> {
        Ok(conn.run(echo(number)).await?)
    }
}

mod single {
    millpond_testkit::conformance! { fixture = super::Server("MILLPOND_TEST_REDIS_URL"), can = [Answers, Dies] }
}

mod cluster {
    millpond_testkit::conformance! { fixture = super::Server("MILLPOND_TEST_CLUSTER_URL"), can = [Answers] }
}

mod single_null_pool {
    use millpond_core::NullPool;
    millpond_testkit::conformance! {
        fixture = super::Server("MILLPOND_TEST_REDIS_URL"), can = [Answers], pool = NullPool
    }
}

mod single_shared_pool {
    use millpond_core::SharedPool;
    millpond_testkit::conformance! {
        fixture = super::Shared(super::Server("MILLPOND_TEST_REDIS_URL")), can = [Answers], pool = SharedPool
    }
}
