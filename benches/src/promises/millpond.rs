//! millpond over the scripted server.

use super::contender::Contender;
use super::server::{Server, Wire};
use millpond_core::{ConnectInfo, Lease, Limits, Manager, QueuePool};
use std::io;
use std::time::Duration;

impl Manager for Server {
    type Connection = Wire;
    type Error = io::Error;

    async fn connect(&self, _: &ConnectInfo) -> io::Result<Wire> {
        Self::connect(self).await
    }

    async fn ping(&self, _: &mut Wire) -> io::Result<()> {
        Self::ping(self).await
    }
}

/// millpond.
#[derive(Clone)]
pub(crate) struct Millpond(QueuePool<Server>);

impl Contender for Millpond {
    const NAME: &'static str = "millpond";
    type Lease = Lease<Wire>;

    async fn open(server: &Server, cap: u32, limit: Duration) -> Self {
        let builder =
            QueuePool::builder(server.clone()).pool_size(cap).max_overflow(0).limits(Limits::Off);
        let builder = builder.pool_timeout(limit).connect_timeout(limit).ping_timeout(limit / 2);
        Self(builder.pre_ping_idle(Duration::ZERO).build().expect("the settings are possible"))
    }

    async fn acquire(&self) -> Option<Lease<Wire>> {
        self.0.acquire().await.ok()
    }

    async fn resize(&self, cap: u32) -> bool {
        self.0.resize(cap, 0).is_ok()
    }
}
