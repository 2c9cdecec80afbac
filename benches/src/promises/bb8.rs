//! bb8 over the scripted server, with its default test on checkout.

use super::contender::Contender;
use super::server::{Server, Wire};
use bb8::{ManageConnection, Pool, PooledConnection};
use std::io;
use std::time::Duration;

impl ManageConnection for Server {
    type Connection = Wire;
    type Error = io::Error;

    async fn connect(&self) -> io::Result<Wire> {
        Self::connect(self).await
    }

    async fn is_valid(&self, _: &mut Wire) -> io::Result<()> {
        self.ping().await
    }

    fn has_broken(&self, _: &mut Wire) -> bool {
        false
    }
}

/// bb8.
#[derive(Clone)]
pub(crate) struct Bb8(Pool<Server>);

impl Contender for Bb8 {
    const NAME: &'static str = "bb8";
    type Lease = PooledConnection<'static, Server>;

    async fn open(server: &Server, cap: u32, limit: Duration) -> Self {
        let builder = Pool::builder().max_size(cap).connection_timeout(limit);
        Self(builder.build_unchecked(server.clone()))
    }

    async fn acquire(&self) -> Option<Self::Lease> {
        self.0.get_owned().await.ok()
    }

    async fn resize(&self, _: u32) -> bool {
        false
    }
}
