//! The chaos harness: users of a pool drop what they have begun, at every point and for as long as
//! asked, through a proxy that chops up, cuts and swallows; and every question carries a nonce, so
//! that an answer to another one is seen.
//!
//! A seed draws what is done, what is dropped after how many polls, and what becomes of each
//! connection. What the network and the scheduler make of it is theirs, so a seed repeats the plan
//! and not the moment.

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
