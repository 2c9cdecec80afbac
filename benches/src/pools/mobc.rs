//! mobc: no test on checkout, no deadline, no ages; all connections may be idle.

use crate::books::{Books, Opener, Wire};
use crate::competitor::{Competitor, Spec};
use mobc::{Connection, Manager, Pool, async_trait};
use std::convert::Infallible;
use std::sync::Arc;

#[async_trait]
impl Manager for Opener {
    type Connection = Box<Wire>;
    type Error = Infallible;

    async fn connect(&self) -> Result<Box<Wire>, Infallible> {
        Ok(self.open().await)
    }

    async fn check(&self, wire: Box<Wire>) -> Result<Box<Wire>, Infallible> {
        Ok(wire)
    }
}

/// mobc.
#[derive(Clone)]
pub(crate) struct Mobc(Pool<Opener>);

impl Competitor for Mobc {
    const NAME: &'static str = "mobc";
    type Lease<'a> = Connection<Opener>;

    async fn open(books: &Arc<Books>, spec: Spec) -> Self {
        let builder = Pool::builder()
            .max_open(spec.cap.into())
            .max_idle(spec.cap.into())
            .test_on_check_out(false);
        Self(builder.get_timeout(None).max_lifetime(None).build(Opener(Arc::clone(books))))
    }

    async fn acquire(&self) -> Self::Lease<'_> {
        self.0.get().await.expect("mobc lends")
    }
}
