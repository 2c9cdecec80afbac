//! The chaos harness: users of a pool drop their operations at every point, through a proxy that
//! splits, cuts and swallows data. Every query contains a nonce, so that an answer to another query
//! is detected.
//!
//! A seed determines what each user does, after how many polls it is dropped, and what happens to
//! each connection. The timing of the network and the scheduler varies, so a seed repeats the plan
//! but not the exact run.

mod load;
mod plan;
mod redis;
mod subject;
mod tally;
mod transactions;

pub use load::{Soak, soak};
pub use plan::Action;
pub use redis::{Redis, redis, redis_by_redis_rs};
pub use subject::{Failure, Subject, mysql, mysql_by_sqlx, postgres, postgres_by_sqlx};
pub use tally::Report;
pub use transactions::{End, History, Transacting, TransactionReport, transactions};
