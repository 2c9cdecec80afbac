//! How a chaos proxy treats the bytes of one direction.

use std::time::Duration;

/// A direction of bytes through a [`ChaosProxy`](crate::ChaosProxy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

impl Direction {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];
}

/// A fault of a connection, or of one of its directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkFault {
    /// Both ends are closed as at the end of a process: FIN, or RST if bytes were not read.
    Cut,
    /// Both ends are reset: RST.
    Reset,
    /// Data is dropped silently; in both directions, this is a half-open connection.
    Swallow,
    /// Data is held back until another flow is set.
    Stall,
}

/// How bytes pass in one direction: in pieces, after a delay, and until a fault. A plain value:
/// `Flow::free().in_pieces_of(3).then(100, NetworkFault::Reset)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// The most bytes that are passed on at once; 0 means any number.
    piece: usize,
    /// The delay of each piece.
    delay: Duration,
    /// The fault, and the number of bytes after which it happens.
    fault: Option<(u64, NetworkFault)>,
}

impl Flow {
    /// Returns a flow that passes all bytes at once.
    pub fn free() -> Self {
        Self::default()
    }

    /// Returns a flow that holds all bytes back.
    pub fn stalled() -> Self {
        Self::free().then(0, NetworkFault::Stall)
    }

    /// Sets the most bytes that are passed on at once; the receiver runs between two pieces. 0
    /// means any number.
    #[must_use]
    pub fn in_pieces_of(self, bytes: usize) -> Self {
        Self { piece: bytes, ..self }
    }

    /// Delays each piece by this time, in real time.
    #[must_use]
    pub fn delayed(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Causes the fault once this many bytes have passed since the flow was set; 0 means at once.
    #[must_use]
    pub fn then(self, bytes: u64, fault: NetworkFault) -> Self {
        Self { fault: Some((bytes, fault)), ..self }
    }

    /// Returns a random flow: free or in pieces of up to 16 bytes; one in four ends with a cut, a
    /// reset or silence within 2,000 bytes. It neither delays nor stalls.
    pub fn drawn(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let flow =
            if dice.bool() { Self::free() } else { Self::free().in_pieces_of(dice.usize(1..=16)) };
        if dice.u8(0..4) > 0 {
            return flow;
        }
        let faults = [NetworkFault::Cut, NetworkFault::Reset, NetworkFault::Swallow];
        flow.then(dice.u64(0..2_000), faults[dice.usize(0..faults.len())])
    }

    pub(crate) fn delay(&self) -> Duration {
        self.delay
    }

    /// Returns the next step, after `passed` bytes have passed under this flow and `held` more have
    /// arrived.
    pub(crate) fn step(&self, passed: u64, held: usize) -> Step {
        let piece = if self.piece == 0 { held } else { held.min(self.piece) };
        match self.fault {
            Some((after, fault)) if passed >= after => match fault {
                NetworkFault::Cut | NetworkFault::Reset => Step::End(fault),
                NetworkFault::Swallow => Step::Swallow,
                NetworkFault::Stall if held > 0 => Step::Wait,
                NetworkFault::Stall => Step::Read,
            },
            _ if held == 0 => Step::Read,
            Some((after, _)) => {
                Step::Pass(piece.min(usize::try_from(after - passed).unwrap_or(usize::MAX)))
            }
            None => Step::Pass(piece),
        }
    }
}

/// The next step in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read, or switch to a new flow.
    Read,
    /// Pass this many bytes on.
    Pass(usize),
    /// Discard everything.
    Swallow,
    /// Wait for another flow.
    Wait,
    /// End the connection.
    End(NetworkFault),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_the_fault_begins() {
        let flow = Flow::free().in_pieces_of(4).then(10, NetworkFault::Reset);
        assert_eq!(flow.step(0, 0), Step::Read);
        assert_eq!(flow.step(0, 100), Step::Pass(4));
        assert_eq!(flow.step(8, 100), Step::Pass(2));
        assert_eq!(flow.step(10, 90), Step::End(NetworkFault::Reset));
        assert_eq!(Flow::free().step(7, 100), Step::Pass(100));
    }

    #[test]
    fn a_stalled_flow_reads_once_and_then_waits() {
        assert_eq!(Flow::stalled().step(0, 0), Step::Read);
        assert_eq!(Flow::stalled().step(0, 1), Step::Wait);
    }

    #[test]
    fn a_seed_draws_the_same_flow_again_and_every_fault_in_time() {
        let drawn: Vec<Flow> = (0..200).map(Flow::drawn).collect();
        assert_eq!(drawn, (0..200).map(Flow::drawn).collect::<Vec<_>>());
        for fault in [NetworkFault::Cut, NetworkFault::Reset, NetworkFault::Swallow] {
            assert!(
                drawn.iter().any(|flow| flow.fault.is_some_and(|(_, drawn)| drawn == fault)),
                "{fault:?}"
            );
        }
        assert!(drawn.contains(&Flow::free()));
    }
}
