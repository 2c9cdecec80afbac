//! bb8: no test on checkout, no reaper, last in first out; its deadline cannot be turned off.
//! Leases borrow the pool, which is the faster of its two ways.

use crate::books::{Books, Opener, Wire};
use crate::competitor::{Competitor, Spec};
use bb8::{ManageConnection, Pool, PooledConnection, QueueStrategy};
use std::convert::Infallible;
use std::sync::Arc;

impl ManageConnection for Opener {
    type Connection = Box<Wire>;
    type Error = Infallible;

    async fn connect(&self) -> Result<Box<Wire>, Infallible> {
        Ok(self.open().await)
    }

    async fn is_valid(&self, _: &mut Box<Wire>) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Box<Wire>) -> bool {
        false
    }
}

/// bb8.
#[derive(Clone)]
pub(crate) struct Bb8(Pool<Opener>);

impl Competitor for Bb8 {
    const NAME: &'static str = "bb8";
    type Lease<'a> = PooledConnection<'a, Opener>;

    async fn open(books: &Arc<Books>, spec: Spec) -> Self {
        let builder = Pool::builder()
            .max_size(spec.cap)
            .test_on_check_out(false)
            .max_lifetime(None)
            .idle_timeout(None);
        let pool =
            builder.queue_strategy(QueueStrategy::Lifo).build(Opener(Arc::clone(books))).await;
        Self(pool.expect("nothing is opened yet"))
    }

    async fn acquire(&self) -> Self::Lease<'_> {
        self.0.get().await.expect("bb8 lends")
    }
}
