//! Faults planted in a manager: the suite fails on each of them, and passes the same manager
//! without it.

use crate::broken::passes;
use millpond_core::{BoxError, ConnectInfo, ErrorClass, Manager, QueuePool, Triage};
use millpond_testkit::conformance::{self as suite};
use millpond_testkit::{Capability, Fixture};
use std::collections::VecDeque;
use std::io;
use std::mem::forget;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    None,
    HalfAskedKept,
    DirtyKept,
    PingThatDoesNothing,
    CloseThatLeaks,
    ResetThatDoesNothing,
    PingThatBlocks,
    ResetThatBlocks,
    HalfDirtyKept,
    CutConnectThatLeaks,
    EveryErrorPermanent,
    EveryErrorTransient,
}

/// One session of the server.
struct Session {
    open: Arc<AtomicU32>,
    answers: VecDeque<i64>,
    asking: bool,
    dead: bool,
    dirty: bool,
    /// True if the manager knows that the session is dirty.
    known_dirty: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A manager of such sessions with one fault, or none. The server accepts at most `most` sessions.
struct Planted {
    flaw: Flaw,
    open: Arc<AtomicU32>,
    most: u32,
    /// The error of every connect.
    refusal: Option<io::ErrorKind>,
}

impl Manager for Planted {
    type Connection = Session;
    type Error = io::Error;

    async fn connect(&self, _: &ConnectInfo) -> io::Result<Session> {
        if let Some(refusal) = self.refusal {
            return Err(refusal.into());
        }
        if self.open.load(Ordering::SeqCst) >= self.most {
            return Err(io::Error::other("too many sessions"));
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        if self.flaw == Flaw::CutConnectThatLeaks {
            // If this future is dropped here, nothing closes the session.
            tokio::task::yield_now().await;
        }
        let session = Session {
            open: Arc::clone(&self.open),
            answers: VecDeque::new(),
            asking: false,
            dead: false,
            dirty: false,
            known_dirty: false,
        };
        tokio::task::yield_now().await;
        Ok(session)
    }

    async fn ping(&self, session: &mut Session) -> io::Result<()> {
        if self.flaw == Flaw::PingThatBlocks {
            block();
        }
        let dead = session.dead && self.flaw != Flaw::PingThatDoesNothing;
        if dead { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    fn triage(&self, session: &mut Session) -> Triage {
        if session.asking && self.flaw != Flaw::HalfAskedKept {
            Triage::Discard
        } else if session.known_dirty && self.flaw != Flaw::DirtyKept {
            Triage::Reset
        } else {
            Triage::Keep
        }
    }

    async fn reset(&self, session: &mut Session) -> io::Result<()> {
        if self.flaw == Flaw::ResetThatBlocks {
            block();
        }
        if self.flaw != Flaw::ResetThatDoesNothing {
            (session.dirty, session.known_dirty) = (false, false);
        }
        Ok(())
    }

    async fn close(&self, session: Session) -> io::Result<()> {
        if self.flaw == Flaw::CloseThatLeaks {
            forget(session);
        }
        Ok(())
    }

    fn classify(&self, error: &io::Error) -> ErrorClass {
        match self.flaw {
            Flaw::EveryErrorPermanent => ErrorClass::Permanent,
            Flaw::EveryErrorTransient => ErrorClass::Transient,
            _ if error.kind() == io::ErrorKind::PermissionDenied => ErrorClass::Permanent,
            _ => ErrorClass::Transient,
        }
    }
}

/// Blocks its thread for a second.
fn block() {
    let (_said, heard) = std::sync::mpsc::channel::<()>();
    let _ = heard.recv_timeout(Duration::from_secs(1));
}

struct Bench {
    flaw: Flaw,
    open: Arc<AtomicU32>,
    most: u32,
    says_so: bool,
}

impl Bench {
    fn planted(&self, refusal: Option<io::ErrorKind>) -> Planted {
        Planted { flaw: self.flaw, open: Arc::clone(&self.open), most: self.most, refusal }
    }
}

impl Fixture for Bench {
    type Manager = Planted;

    async fn manager(&self) -> Result<Planted, String> {
        Ok(self.planted(None))
    }

    async fn away(&self) -> Result<Planted, BoxError> {
        Ok(self.planted(Some(io::ErrorKind::ConnectionRefused)))
    }

    async fn refused(&self) -> Result<Planted, BoxError> {
        Ok(self.planted(Some(io::ErrorKind::PermissionDenied)))
    }

    async fn ask(&self, session: &mut Session, number: i64) -> Result<i64, BoxError> {
        session.asking = true;
        session.answers.push_back(number);
        tokio::task::yield_now().await;
        let answer = session.answers.pop_front();
        session.asking = false;
        answer.ok_or_else(|| "no answer".into())
    }

    async fn kill(&self, session: &mut Session) -> Result<(), BoxError> {
        session.dead = true;
        Ok(())
    }

    async fn make_dirty(&self, session: &mut Session) -> Result<(), BoxError> {
        session.asking = self.flaw != Flaw::HalfDirtyKept;
        session.dirty = true;
        tokio::task::yield_now().await;
        (session.known_dirty, session.asking) = (true, false);
        Ok(())
    }

    async fn is_dirty(&self, session: &mut Session) -> Result<bool, BoxError> {
        Ok(session.dirty)
    }

    async fn open_at_server(&self) -> Result<usize, BoxError> {
        Ok(self.open.load(Ordering::SeqCst) as usize)
    }

    fn sessions_max(&self) -> Option<u32> {
        self.says_so.then_some(self.most)
    }
}

fn bench(flaw: Flaw) -> Bench {
    Bench { flaw, open: Arc::default(), most: u32::MAX, says_so: false }
}

const CLAIMS: &[Capability] = &[
    Capability::PausedClock,
    Capability::Answers,
    Capability::Dies,
    Capability::Dirty,
    Capability::Counted,
    Capability::Away,
    Capability::Refuses,
];

macro_rules! falls {
    ($($test:ident: $flaw:ident falls at $case:ident;)*) => {
        $(
            #[test]
            fn $test() {
                let plays = |flaw| {
                    passes::<_, QueuePool<_>, _>(bench(flaw), CLAIMS, |stage| suite::$case(stage))
                };
                assert!(plays(Flaw::None) && !plays(Flaw::$flaw));
            }
        )*
    };
}

falls! {
    what_was_half_asked_and_is_kept_is_seen:
        HalfAskedKept falls at c57_an_answer_never_reaches_another_borrower;
    what_is_dirty_and_is_kept_is_seen:
        DirtyKept falls at c53_state_left_on_a_connection_never_reaches_the_next_borrower;
    a_ping_that_does_nothing_is_seen:
        PingThatDoesNothing falls at c59_a_connection_that_its_server_has_ended_is_not_lent_again;
    a_close_that_leaks_is_seen:
        CloseThatLeaks falls at c84_a_closed_connection_is_closed_at_the_server;
    a_reset_that_does_nothing_is_seen:
        ResetThatDoesNothing falls at
            c53_state_left_on_a_connection_never_reaches_the_next_borrower;
    a_ping_that_blocks_is_seen:
        PingThatBlocks falls at c54_no_call_of_the_manager_blocks_its_thread;
    a_reset_that_blocks_is_seen:
        ResetThatBlocks falls at c54_no_call_of_the_manager_blocks_its_thread;
    what_is_dirty_by_half_and_is_kept_is_seen:
        HalfDirtyKept falls at c53_state_of_a_half_done_call_never_reaches_the_next_borrower;
    a_connect_that_leaks_when_it_is_cut_off_is_seen:
        CutConnectThatLeaks falls at
            c84_a_dropped_connect_leaves_no_connection_open_at_the_server;
    a_manager_that_classifies_every_error_as_permanent_is_seen:
        EveryErrorPermanent falls at c95_a_server_that_is_away_is_tried_again;
    a_manager_that_classifies_every_error_as_transient_is_seen:
        EveryErrorTransient falls at c95_a_server_that_refuses_permanently_is_not_tried_again;
}

#[test]
fn a_case_that_needs_more_sessions_than_sessions_max_is_skipped() {
    let plays = |says_so| {
        let bench = Bench { flaw: Flaw::None, open: Arc::default(), most: 3, says_so };
        let open = Arc::clone(&bench.open);
        let passed = passes::<_, QueuePool<_>, _>(
            bench,
            CLAIMS,
            suite::c84_everything_that_was_opened_is_closed,
        );
        (passed, open.load(Ordering::SeqCst))
    };
    assert_eq!(plays(true), (true, 0));
    assert!(!plays(false).0);
}
