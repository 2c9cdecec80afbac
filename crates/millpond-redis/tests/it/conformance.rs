//! The managers keep what the conformance suite asks of every manager, over either driver.

use millpond_core::BoxError;
use millpond_redis::{
    Command, Driver, RedisClient, RedisConnectOptions, RedisConnection, RedisManager,
    SharedRedisManager, Value,
};
use millpond_testkit::{Fixture, variable};
use std::sync::{Arc, OnceLock};

/// The servers that a variable names, all of them with commas between, over a driver.
struct Servers {
    variable: &'static str,
    driver: Driver,
    /// The user of the manager, which identifies its connections at the server.
    user: OnceLock<String>,
}

impl Servers {
    const fn of(variable: &'static str, driver: Driver) -> Self {
        Self { variable, driver, user: OnceLock::new() }
    }

    fn nodes(&self) -> Result<Vec<(String, u16)>, String> {
        let nodes = variable(self.variable).ok_or_else(|| format!("no {}", self.variable))?;
        let nodes = nodes.split(',').filter_map(|node| node.rsplit_once(':'));
        Ok(nodes.map(|(host, port)| (host.to_owned(), port.parse().unwrap())).collect())
    }

    /// Has every server execute it.
    async fn everywhere(&self, command: Command) {
        for (host, port) in self.nodes().unwrap() {
            let pool = crate::support::few(1)
                .connect_with(RedisConnectOptions::single(host, port))
                .await
                .unwrap();
            pool.run::<()>(command.clone()).await.unwrap();
        }
    }

    async fn options(&self) -> Result<RedisConnectOptions, String> {
        let nodes = self.nodes()?;
        let user = self.user.get_or_init(|| format!("conformance-{:x}", fastrand::u64(..)));
        let rights = ["on", ">secret", "~*", "&*", "+@all"];
        self.everywhere(Command::new("ACL").arg("SETUSER").arg(user).args(rights)).await;
        let options = match &nodes[..] {
            [(host, port)] => RedisConnectOptions::single(host, *port),
            _ => RedisConnectOptions::cluster(nodes),
        };
        let options = options.login(Some(user), "secret").driver(self.driver);
        Ok(options.command_timeout(crate::support::PATIENCE))
    }
}

fn echo(number: i64) -> Command {
    Command::new("ECHO").arg(number)
}

/// A command as it is written.
fn written(words: &[&str]) -> Command {
    let (name, args) = words.split_first().unwrap();
    args.iter().fold(Command::new((*name).to_owned()), |command, word| {
        if word.starts_with("key") { command.key(*word) } else { command.arg(*word) }
    })
}

fn text(value: Value) -> String {
    match value {
        Value::Bytes(text) => String::from_utf8_lossy(&text).into_owned(),
        Value::Int(number) => number.to_string(),
        Value::Nil => String::new(),
        Value::List(values) => values.into_iter().map(text).collect::<Vec<_>>().join(" "),
        other => format!("{other:?}"),
    }
}

impl Fixture for Servers {
    type Manager = RedisManager;

    async fn manager(&self) -> Result<RedisManager, String> {
        self.options().await.map(RedisManager::new)
    }

    async fn ask(&self, conn: &mut RedisConnection, number: i64) -> Result<i64, BoxError> {
        Ok(conn.run(echo(number)).await?)
    }

    async fn kill(&self, conn: &mut RedisConnection) -> Result<(), BoxError> {
        let user = self.user.get().ok_or("nobody has logged in")?;
        self.everywhere(Command::new("CLIENT").args(["KILL", "USER"]).arg(user)).await;
        let closing = async { while conn.run::<()>(Command::new("PING")).await.is_ok() {} };
        Ok(tokio::time::timeout(std::time::Duration::from_secs(30), closing).await?)
    }

    /// Another database, or in a cluster, which has none, a name.
    async fn make_dirty(&self, conn: &mut RedisConnection) -> Result<(), BoxError> {
        let is_cluster = self.nodes()?.len() > 1;
        let client = Command::new("CLIENT").args(["SETNAME", "soiled"]);
        Ok(conn.run(if is_cluster { client } else { Command::new("SELECT").arg(5) }).await?)
    }

    async fn is_dirty(&self, conn: &mut RedisConnection) -> Result<bool, BoxError> {
        let info: String = conn.run(Command::new("CLIENT").arg("INFO")).await?;
        Ok(!info.contains(" name= ") || !info.contains(" db=0 "))
    }

    /// Every connection to a cluster has a socket to the node that it has entered by.
    async fn open_at_server(&self) -> Result<usize, BoxError> {
        let user = format!(" user={} ", self.user.get().ok_or("nobody has logged in")?);
        let mut most = 0;
        for (host, port) in self.nodes()? {
            let pool = crate::support::few(1)
                .connect_with(RedisConnectOptions::single(host, port))
                .await?;
            let clients: String = pool.run(Command::new("CLIENT").arg("LIST")).await?;
            // One that only asks who owns what is about to be closed.
            let is_counted =
                |line: &&str| line.contains(&user) && !line.contains(" cmd=cluster|slots ");
            most = most.max(clients.lines().filter(is_counted).count());
        }
        Ok(most)
    }

    async fn away(&self) -> Result<RedisManager, BoxError> {
        let options = match self.nodes()?.len() {
            1 => RedisConnectOptions::single("127.0.0.1", 1),
            _ => RedisConnectOptions::cluster([("127.0.0.1", 1)]),
        };
        Ok(RedisManager::new(options.driver(self.driver)))
    }

    async fn refused(&self) -> Result<RedisManager, BoxError> {
        let options = self.options().await?;
        Ok(RedisManager::new(options.login(self.user.get().map(String::as_str), "wrong")))
    }

    async fn command(
        &self,
        conn: &mut RedisConnection,
        words: &[&str],
    ) -> Result<String, BoxError> {
        Ok(text(conn.run(written(words)).await?))
    }

    async fn transact(
        &self,
        conn: &mut RedisConnection,
        commands: &[&[&str]],
    ) -> Result<bool, BoxError> {
        let commands: Vec<Command> = commands.iter().map(|words| written(words)).collect();
        Ok(conn.transaction::<Value>(commands).await?.is_some())
    }

    async fn subscribe(&self, conn: &mut RedisConnection, channel: &str) -> Result<(), BoxError> {
        Ok(conn.subscribe([channel]).await?)
    }
}

/// The same, shared.
struct Shared(Servers);

impl Fixture for Shared {
    type Manager = SharedRedisManager;

    async fn manager(&self) -> Result<SharedRedisManager, String> {
        self.0.options().await.map(SharedRedisManager::new)
    }

    async fn ask(&self, conn: &mut Arc<RedisClient>, number: i64) -> Result<i64, BoxError> {
        Ok(conn.run(echo(number)).await?)
    }
}

const SINGLE: &str = "MILLPOND_TEST_REDIS_ADDRESS";
const CLUSTER: &str = "MILLPOND_TEST_CLUSTER_NODES";

/// The suite over one driver: exclusive connections to a server and to a cluster, kept by nobody,
/// and shared ones.
macro_rules! suite_over {
    ($driver:ident) => {
        use super::{CLUSTER, Driver, SINGLE, Servers, Shared};

        mod single {
            use super::*;
            millpond_testkit::conformance! {
                fixture = Servers::of(SINGLE, Driver::$driver),
                can = [Answers, Dies, Dirty, Counted, Away, Refuses, Redis]
            }
        }

        mod cluster {
            use super::*;
            millpond_testkit::conformance! {
                fixture = Servers::of(CLUSTER, Driver::$driver),
                can = [Answers, Dies, Dirty, Counted, Away, Refuses, Redis]
            }
        }

        mod single_null_pool {
            use super::*;
            use millpond_core::NullPool;
            millpond_testkit::conformance! {
                fixture = Servers::of(SINGLE, Driver::$driver),
                can = [Answers, Dies, Dirty, Counted, Away, Refuses, Redis], pool = NullPool
            }
        }

        mod single_shared_pool {
            use super::*;
            use millpond_shared::SharedPool;
            millpond_testkit::conformance! {
                fixture = Shared(Servers::of(SINGLE, Driver::$driver)),
                can = [Answers], pool = SharedPool
            }
        }

        mod cluster_shared_pool {
            use super::*;
            use millpond_shared::SharedPool;
            millpond_testkit::conformance! {
                fixture = Shared(Servers::of(CLUSTER, Driver::$driver)),
                can = [Answers], pool = SharedPool
            }
        }
    };
}

#[cfg(feature = "fred")]
mod fred {
    suite_over!(Fred);
}

#[cfg(feature = "redis-rs")]
mod redis_rs {
    suite_over!(RedisRs);
}
