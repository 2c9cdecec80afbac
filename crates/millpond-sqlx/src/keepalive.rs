//! TCP keepalive for connections whose peer has vanished without a word: a host without power, a
//! cable, a firewall.
//!
//! sqlx offers no options of its sockets and lends none of them. They are descriptors of this
//! process, though: those that are new after a connect are copied, and a copy that leads to the
//! server's port is given the options. Original and copy are one socket to the kernel. A descriptor
//! that was closed and reused meanwhile is no danger, since the copy is looked at, not the number.

use sqlx::Error;
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The range of `tcp_keepalive`, if it is not off.
pub(crate) const RANGE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);

/// How many probes are sent before the peer counts as gone.
#[cfg(target_os = "linux")]
const PROBES: u32 = 3;

/// Which part of the idle time lies between two probes.
#[cfg(target_os = "linux")]
const PROBE_SHARE: u32 = 6;

/// TCP keepalive for the connections of one pool: for managers. Does nothing but on Linux.
#[derive(Debug, Clone, Default)]
pub struct TcpKeepalive {
    idle: Option<Duration>,
    /// Whether a failure was reported.
    failed: Arc<AtomicBool>,
}

impl TcpKeepalive {
    /// Keepalive after a connection was idle for so long; none for `None` and zero.
    pub fn after(idle: Option<Duration>) -> Self {
        Self { idle: idle.filter(|idle| !idle.is_zero()), failed: Arc::default() }
    }

    /// Opens a connection to this port of a server by `connect`, and sets the options of its
    /// socket. `warn` is called at the first failure to do so; the connection works without them.
    ///
    /// # Errors
    ///
    /// Those of `connect`.
    ///
    /// # Cancel safety
    ///
    /// As `connect`.
    pub async fn connect<C>(
        &self,
        port: u16,
        connect: impl Future<Output = Result<C, Error>>,
        warn: impl FnOnce(String),
    ) -> Result<C, Error> {
        // Also without keepalive, so that other pools know that a new socket may not be theirs.
        let connecting = Connecting::begin(port, self.idle);
        let Some(idle) = self.idle else { return connect.await };
        let before = descriptors().await;
        let conn = connect.await?;
        let outcome = match before {
            Ok(before) => enable(idle, port, before, Arc::clone(&connecting.0)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            warn(format!("TCP keepalive could not be set on the sockets of this pool: {error}"));
        }
        Ok(conn)
    }
}

/// The connects of all pools of this process that are under way.
static UNDER_WAY: Mutex<Vec<Arc<Overlaps>>> = Mutex::new(Vec::new());

fn under_way() -> MutexGuard<'static, Vec<Arc<Overlaps>>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connect to a port, and what overlaps with it.
#[derive(Debug)]
struct Overlaps {
    port: u16,
    idle: Option<Duration>,
    /// How many other connects to this port with the same keepalive overlap with it.
    same: AtomicUsize,
    /// Whether one with another keepalive does.
    others: AtomicBool,
}

/// That a connect is under way.
struct Connecting(Arc<Overlaps>);

impl Connecting {
    fn begin(port: u16, idle: Option<Duration>) -> Self {
        let new =
            Overlaps { port, idle, same: AtomicUsize::new(0), others: AtomicBool::new(false) };
        let new = Arc::new(new);
        let mut all = under_way();
        for other in all.iter().filter(|other| other.port == port) {
            other.meets(&new);
            new.meets(other);
        }
        all.push(Arc::clone(&new));
        Self(new)
    }
}

impl Overlaps {
    fn meets(&self, other: &Self) {
        if self.idle == other.idle {
            self.same.fetch_add(1, Ordering::Relaxed);
        } else {
            self.others.store(true, Ordering::Relaxed);
        }
    }

    /// How many new sockets to this port may be given the options, since their connects wanted the
    /// same. Its own is one of them, so a single one is its own.
    #[cfg(target_os = "linux")]
    fn at_most(&self) -> usize {
        if self.others.load(Ordering::Relaxed) {
            return 1;
        }
        self.same.load(Ordering::Relaxed).saturating_add(1)
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        under_way().retain(|other| !Arc::ptr_eq(other, &self.0));
    }
}

#[cfg(target_os = "linux")]
use linux::{descriptors, enable};

#[cfg(target_os = "linux")]
mod linux {
    use super::{Overlaps, PROBE_SHARE, PROBES};
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use socket2::{SockRef, TcpKeepalive};
    use std::collections::HashSet;
    use std::fs;
    use std::io::{self, IoSlice, IoSliceMut};
    use std::mem::MaybeUninit;
    use std::os::fd::{AsRawFd, OwnedFd, RawFd};
    use std::os::unix::net::UnixDatagram;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::task::spawn_blocking;

    /// The sockets among the descriptors of this process, each with the name that tells it from
    /// every other one.
    type Descriptors = HashSet<(RawFd, PathBuf)>;

    pub(super) async fn descriptors() -> io::Result<Descriptors> {
        // With ten thousand of them it takes some milliseconds.
        spawn_blocking(read_descriptors).await.map_err(io::Error::other)?
    }

    /// Sets the options of the sockets that are new and lead to this port, if there are no more
    /// than connects that want them: else one may be somebody else's.
    pub(super) async fn enable(
        idle: Duration,
        port: u16,
        before: Descriptors,
        overlaps: Arc<Overlaps>,
    ) -> io::Result<()> {
        let work = move || {
            let (sender, receiver) = UnixDatagram::pair()?;
            // By name: a copy that another connect holds just now is the same socket once more.
            let mut known: HashSet<PathBuf> = before.into_iter().map(|(_, name)| name).collect();
            let mut found = Vec::new();
            for (descriptor, name) in read_descriptors()? {
                if known.contains(&name) {
                    continue;
                }
                let copy = copied(descriptor, &sender, &receiver)?;
                if let Some(copy) = copy.filter(|copy| leads_to(SockRef::from(copy), port)) {
                    found.push(copy);
                    known.insert(name);
                }
            }
            // Asked after the sockets were found, so that it knows of the connect of each. One that
            // may be somebody else's is left as it is.
            if found.len() > overlaps.at_most() {
                return Ok(());
            }
            found.iter().try_for_each(|socket| set_options(SockRef::from(socket), idle))
        };
        spawn_blocking(work).await.map_err(io::Error::other)?
    }

    fn read_descriptors() -> io::Result<Descriptors> {
        let mut found = Descriptors::new();
        for entry in fs::read_dir("/proc/self/fd")? {
            let entry = entry?;
            // One that was closed meanwhile cannot be read.
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(number) =
                number.filter(|_| target.as_os_str().as_encoded_bytes().starts_with(b"socket:"))
            {
                found.insert((number, target));
            }
        }
        Ok(found)
    }

    /// A copy of a descriptor, which the kernel makes when it is sent to another socket. `None` if
    /// it was closed meanwhile.
    fn copied(
        descriptor: RawFd,
        sender: &UnixDatagram,
        receiver: &UnixDatagram,
    ) -> io::Result<Option<OwnedFd>> {
        let message = [ControlMessage::ScmRights(&[descriptor])];
        let sent = sendmsg::<()>(
            sender.as_raw_fd(),
            &[IoSlice::new(&[0])],
            &message,
            MsgFlags::MSG_DONTWAIT,
            None,
        );
        match sent {
            Err(nix::errno::Errno::EBADF) => return Ok(None),
            sent => sent?,
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        recvmsg(receiver, &mut [IoSliceMut::new(&mut [0])], &mut control, flags)?;
        let mut received = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut copies) => copies.next(),
            _ => None,
        });
        Ok(received.next())
    }

    fn leads_to(socket: SockRef<'_>, port: u16) -> bool {
        let peer = socket.peer_addr().ok().and_then(|peer| peer.as_socket());
        peer.is_some_and(|peer| peer.port() == port)
    }

    fn set_options(socket: SockRef<'_>, idle: Duration) -> io::Result<()> {
        let interval = (idle / PROBE_SHARE).max(Duration::from_secs(1));
        // No TCP_USER_TIMEOUT: it would also end connections whose server is alive but reads
        // nothing for so long, such as a COPY that waits for a lock.
        let options =
            TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(PROBES);
        socket.set_tcp_keepalive(&options)
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::net::{TcpListener, TcpStream};

        #[test]
        fn a_server_that_is_alive_may_read_nothing_for_as_long_as_it_likes() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let socket = SockRef::from(&stream);
            set_options(SockRef::from(&stream), Duration::from_secs(6)).unwrap();
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(6));
            assert_eq!(socket.tcp_user_timeout().unwrap(), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
async fn descriptors() -> std::io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
async fn enable(
    _idle: Duration,
    _port: u16,
    _before: (),
    _overlaps: Arc<Overlaps>,
) -> std::io::Result<()> {
    Ok(())
}
