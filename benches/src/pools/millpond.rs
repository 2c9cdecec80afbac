//! millpond: default settings, so with pre-ping, deadlines and the holder's source line; only the
//! overflow is off, since other pools have none.

use crate::books::{Books, Opener, Wire};
use crate::competitor::{Competitor, Spec};
use metrics_exporter_prometheus::PrometheusBuilder;
use millpond_core::{Builder, ConnectInfo, Event, EventContext, Lease, Limits, Manager, QueuePool};
use millpond_metrics::PoolMetrics;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};

impl Manager for Opener {
    type Connection = Box<Wire>;
    type Error = Infallible;

    async fn connect(&self, _: &ConnectInfo) -> Result<Box<Wire>, Infallible> {
        Ok(self.open().await)
    }

    async fn ping(&self, _: &mut Box<Wire>) -> Result<(), Infallible> {
        Ok(())
    }
}

fn builder(books: &Arc<Books>, spec: Spec) -> Builder<QueuePool<Opener>> {
    let builder = QueuePool::builder(Opener(Arc::clone(books))).pool_size(spec.cap).max_overflow(0);
    let builder = if spec.cap > 50 { builder.limits(Limits::Off) } else { builder };
    if spec.one_by_one { builder.max_connecting(1) } else { builder }
}

/// millpond.
#[derive(Clone)]
pub(crate) struct Millpond(QueuePool<Opener>);

impl Competitor for Millpond {
    const NAME: &'static str = "millpond";
    type Lease<'a> = Lease<Box<Wire>>;

    async fn open(books: &Arc<Books>, spec: Spec) -> Self {
        Self(builder(books, spec).build().expect("the settings are in range"))
    }

    async fn acquire(&self) -> Self::Lease<'_> {
        self.0.acquire().await.expect("millpond lends")
    }
}

/// millpond with an observer that counts every event.
#[derive(Clone)]
pub(crate) struct Observed(QueuePool<Opener>);

impl Competitor for Observed {
    const NAME: &'static str = "millpond";
    const VARIANT: &'static str = "_observed";
    type Lease<'a> = Lease<Box<Wire>>;

    async fn open(books: &Arc<Books>, spec: Spec) -> Self {
        let (lent, returned) = (AtomicU64::new(0), AtomicU64::new(0));
        let count = move |event: &Event, _: &EventContext<'_>| match event {
            Event::Acquired { .. } => drop(lent.fetch_add(1, Ordering::Relaxed)),
            Event::Returned { .. } => drop(returned.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        };
        Self(builder(books, spec).observer(count).build().expect("the settings are in range"))
    }

    async fn acquire(&self) -> Self::Lease<'_> {
        self.0.acquire().await.expect("millpond lends")
    }
}

/// millpond with metrics, reported to a Prometheus recorder once a second.
#[derive(Clone)]
pub(crate) struct Metered(QueuePool<Opener>);

impl Competitor for Metered {
    const NAME: &'static str = "millpond";
    const VARIANT: &'static str = "_metrics";
    type Lease<'a> = Lease<Box<Wire>>;

    async fn open(books: &Arc<Books>, spec: Spec) -> Self {
        static RECORDER: Once = Once::new();
        RECORDER.call_once(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            metrics::set_global_recorder(recorder).expect("there is no other recorder");
        });
        let metrics = PoolMetrics::new();
        let pool = builder(books, spec)
            .observer(metrics.clone())
            .build()
            .expect("the settings are in range");
        metrics.follow_pool(&pool);
        Self(pool)
    }

    async fn acquire(&self) -> Self::Lease<'_> {
        self.0.acquire().await.expect("millpond lends")
    }
}
