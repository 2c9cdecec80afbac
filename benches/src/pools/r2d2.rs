//! r2d2, which blocks: an idle connection is taken at once; a wait runs on one of the runtime's
//! blocking threads, as in an async program. No test on checkout, no ages.

use crate::books::{Books, Opener, Wire};
use crate::competitor::{Competitor, Spec};
use r2d2::{ManageConnection, Pool, PooledConnection};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::task::spawn_blocking;

impl ManageConnection for Opener {
    type Connection = Box<Wire>;
    type Error = Infallible;

    fn connect(&self) -> Result<Box<Wire>, Infallible> {
        Ok(self.open_blocking())
    }

    fn is_valid(&self, _: &mut Box<Wire>) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Box<Wire>) -> bool {
        false
    }
}

/// r2d2.
#[derive(Clone)]
pub(crate) struct R2d2(Pool<Opener>);

impl Competitor for R2d2 {
    const NAME: &'static str = "r2d2";
    const WAITS_AS_FUTURE: bool = false;
    type Lease<'a> = PooledConnection<Opener>;

    async fn open(books: &Arc<Books>, spec: Spec) -> Self {
        let builder = Pool::builder().max_size(spec.cap).min_idle(Some(0)).test_on_check_out(false);
        Self(
            builder
                .max_lifetime(None)
                .idle_timeout(None)
                .build_unchecked(Opener(Arc::clone(books))),
        )
    }

    async fn acquire(&self) -> Self::Lease<'_> {
        if let Some(lease) = self.0.try_get() {
            return lease;
        }
        let pool = self.0.clone();
        spawn_blocking(move || pool.get()).await.expect("r2d2 does not panic").expect("r2d2 lends")
    }
}
