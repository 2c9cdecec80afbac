//! deadpool over the scripted server, with all three timeouts set; by default it has none.

use super::contender::Contender;
use super::server::{Server, Wire};
use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, Pool, RecycleError, RecycleResult};
use std::io;
use std::time::Duration;

impl Manager for Server {
    type Type = Wire;
    type Error = io::Error;

    async fn create(&self) -> io::Result<Wire> {
        self.connect().await
    }

    async fn recycle(&self, _: &mut Wire, _: &Metrics) -> RecycleResult<io::Error> {
        self.ping().await.map_err(RecycleError::Backend)
    }
}

/// deadpool.
#[derive(Clone)]
pub(crate) struct Deadpool(Pool<Server>);

impl Contender for Deadpool {
    const NAME: &'static str = "deadpool";
    type Lease = Object<Server>;

    async fn open(server: &Server, cap: u32, limit: Duration) -> Self {
        let builder = Pool::builder(server.clone()).max_size(cap as usize).runtime(Runtime::Tokio1);
        let builder = builder
            .wait_timeout(Some(limit))
            .create_timeout(Some(limit))
            .recycle_timeout(Some(limit / 2));
        Self(builder.build().expect("there is a runtime for the timeouts"))
    }

    async fn acquire(&self) -> Option<Object<Server>> {
        self.0.get().await.ok()
    }

    async fn resize(&self, cap: u32) -> bool {
        self.0.resize(cap as usize);
        true
    }
}
