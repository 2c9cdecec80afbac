//! deadpool: no deadlines (its default, and to its advantage), last in first out like millpond;
//! recycling does nothing.

use crate::books::{Books, Opener, Wire};
use crate::competitor::{Competitor, Spec};
use deadpool::managed::{Manager, Metrics, Object, Pool, QueueMode, RecycleResult};
use std::convert::Infallible;
use std::sync::Arc;

impl Manager for Opener {
    type Type = Box<Wire>;
    type Error = Infallible;

    async fn create(&self) -> Result<Box<Wire>, Infallible> {
        Ok(self.open().await)
    }

    async fn recycle(&self, _: &mut Box<Wire>, _: &Metrics) -> RecycleResult<Infallible> {
        Ok(())
    }
}

/// deadpool.
#[derive(Clone)]
pub(crate) struct Deadpool(Pool<Opener>);

impl Competitor for Deadpool {
    const NAME: &'static str = "deadpool";
    type Lease<'a> = Object<Opener>;

    async fn open(books: &Arc<Books>, spec: Spec) -> Self {
        let builder = Pool::builder(Opener(Arc::clone(books)));
        let builder = builder.max_size(spec.cap as usize).queue_mode(QueueMode::Lifo);
        Self(builder.build().expect("no deadlines, so no runtime is asked for"))
    }

    async fn acquire(&self) -> Self::Lease<'_> {
        self.0.get().await.expect("deadpool lends")
    }
}
