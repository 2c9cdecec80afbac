//! mobc over the scripted server, with its default test on checkout.

use super::contender::Contender;
use super::server::{Server, Wire};
use mobc::{Connection, Manager, Pool, async_trait};
use std::io;
use std::time::Duration;

#[async_trait]
impl Manager for Server {
    type Connection = Wire;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<Wire> {
        Self::connect(self).await
    }

    async fn check(&self, wire: Wire) -> io::Result<Wire> {
        self.ping().await.map(|()| wire)
    }
}

/// mobc.
#[derive(Clone)]
pub(crate) struct Mobc(Pool<Server>);

impl Contender for Mobc {
    const NAME: &'static str = "mobc";
    type Lease = Connection<Server>;

    async fn open(server: &Server, cap: u32, limit: Duration) -> Self {
        let builder =
            Pool::builder().max_open(cap.into()).max_idle(cap.into()).get_timeout(Some(limit));
        Self(builder.build(server.clone()))
    }

    async fn acquire(&self) -> Option<Connection<Server>> {
        self.0.get().await.ok()
    }

    async fn resize(&self, cap: u32) -> bool {
        self.0.set_max_open_conns(cap.into()).await;
        self.0.set_max_idle_conns(cap.into()).await;
        true
    }
}
