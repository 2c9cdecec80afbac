//! A command on its way through the driver, in a future that has sent others before.
//!
//! The driver's futures have some kilobytes. Those of all who call would be as large if they held one; and a box for each
//! command is so large that the allocator takes a lock for it that other threads want as well, and would be copied into. So
//! the boxes are kept: what lives in one sends a command after the other.

use crate::arguments::Arguments;
use crate::known::Known;
use crate::value::Value;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::config::Options;
use fred::types::{CustomCommand, Value as DriverValue};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// How many senders a connection keeps.
const IDLE_MAX: usize = 64;

type Answer = Result<Value, Error>;

/// What is to be sent.
pub(crate) enum Job {
    /// By the driver's own word for it.
    Known(Known),
    /// With options, and by its name if the driver has no word for it. Boxed, so that the others are moved quickly.
    With(Result<Known, Arguments>, Box<(CustomCommand, Options)>),
}

/// Sends one command after the other.
type Sender = Pin<Box<dyn Future<Output = Infallible> + Send>>;

/// The senders of a connection that have nothing to do. Each holds a handle to the driver's client.
#[derive(Default)]
pub(crate) struct Senders {
    idle: Mutex<Vec<Sender>>,
}

/// What is handed to a sender, or by it.
enum Parcel {
    Job(Job),
    Answer(Answer),
}

thread_local! {
    /// What passes between a sender and whoever polls it; empty but for the length of a poll.
    static HATCH: Cell<Option<Parcel>> = const { Cell::new(None) };
}

impl Senders {
    /// Sends a command and waits for its answer.
    ///
    /// # Cancel safety
    ///
    /// The sender is dropped with the future.
    pub(crate) fn send(&self, client: &Client, job: Job) -> Sending<'_> {
        let idle = self.lock().pop();
        let sender = idle.unwrap_or_else(|| Box::pin(send_all(client.clone())));
        Sending { senders: self, parcel: Some(Parcel::Job(job)), sender: Some(sender) }
    }

    /// How many there are that have nothing to do.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.lock();
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        } else {
            drop(idle);
            drop(sender);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sender>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command on its way. It must not be polled again once it has ended.
pub(crate) struct Sending<'a> {
    senders: &'a Senders,
    /// Until the first poll.
    parcel: Option<Parcel>,
    /// `None` once it has ended.
    sender: Option<Sender>,
}

impl Future for Sending<'_> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let Self { parcel, sender: Some(sender), .. } = &mut *self else { return Poll::Pending };
        if let Some(job) = parcel.take() {
            HATCH.set(Some(job));
        }
        // It never ends.
        let _ = sender.as_mut().poll(cx);
        let Some(Parcel::Answer(answer)) = HATCH.take() else { return Poll::Pending };
        if let Some(sender) = self.sender.take() {
            self.senders.keep(sender);
        }
        Poll::Ready(answer)
    }
}

/// A sender. Between two commands it holds nothing but the client.
async fn send_all(client: Client) -> Infallible {
    loop {
        let job = poll_fn(|_| match HATCH.take() {
            Some(Parcel::Job(job)) => Poll::Ready(job),
            _ => Poll::Pending,
        })
        .await;
        let mut answer = Some(Parcel::Answer(send(&client, job).await));
        // Handed out by one poll; the next one comes with a new job.
        poll_fn(|_| match answer.take() {
            Some(answer) => {
                HATCH.set(Some(answer));
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
        .await;
    }
}

async fn send(client: &Client, job: Job) -> Answer {
    match job {
        Job::Known(known) => known.send(client).await,
        Job::With(known, rest) => {
            let (named, options) = *rest;
            let client = client.with_options(&options);
            match known {
                Ok(known) => known.send(&client).await,
                Err(args) => {
                    let args: Vec<DriverValue> = args.into_iter().map(DriverValue::Bytes).collect();
                    client.custom_raw(named, args).await.map(Value::of)
                }
            }
        }
    }
}
