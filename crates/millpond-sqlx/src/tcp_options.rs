//! Sets TCP keepalive and TCP_USER_TIMEOUT, which detect peers that vanish without closing: a host
//! without power, a cable, a firewall.
//!
//! sqlx neither sets these options nor exposes its sockets. But they are descriptors of this
//! process: those that are new after a connect are duplicated, and the options are set on a
//! duplicate that is connected to the server's port. To the kernel original and duplicate are one
//! socket. A descriptor that was closed and reused in the meantime does no harm, since the
//! duplicate is read, not the number. If several are new, the server is queried for the client port
//! of the connection, which identifies it.

use futures_core::future::BoxFuture;
use millpond_core::TCP_USER_TIMEOUT;
use sqlx::Error;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The number of unanswered probes that end a connection if there is no user timeout.
#[cfg(target_os = "linux")]
const PROBES: u32 = 3;

/// Fraction of the idle time between two probes.
#[cfg(target_os = "linux")]
const PROBE_SHARE: u32 = 6;

/// The default user timeout is at most this many times the idle time. On Linux it decides when
/// unanswered probes end a connection.
const IDLE_TIMES: u32 = 5;

/// The options of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Options {
    idle: Option<Duration>,
    user_timeout: Option<Duration>,
}

impl Options {
    fn new(idle: Option<Duration>, user_timeout: Option<Duration>) -> Self {
        let on = |time: &Duration| !time.is_zero();
        let (idle, mut user_timeout) = (idle.filter(on), user_timeout.filter(on));
        if let (Some(idle), Some(TCP_USER_TIMEOUT)) = (idle, user_timeout) {
            user_timeout = Some(TCP_USER_TIMEOUT.min(idle.saturating_mul(IDLE_TIMES)));
        }
        Self { idle, user_timeout }
    }
}

/// The TCP socket options of one pool, for managers. They are set on Linux only.
#[derive(Debug, Clone, Default)]
pub struct TcpOptions {
    options: Options,
    /// Whether a failure has been reported.
    failed: Arc<AtomicBool>,
}

impl TcpOptions {
    /// Creates options: the idle time before keepalive probes, and the longest time that sent data
    /// may stay unacknowledged or unread. `None` and zero leave an option unset.
    /// [`TCP_USER_TIMEOUT`] counts as the default, which is limited to five times the idle time.
    pub fn new(keepalive: Option<Duration>, user_timeout: Option<Duration>) -> Self {
        Self { options: Options::new(keepalive, user_timeout), failed: Arc::default() }
    }

    /// Awaits `connect`, which opens a connection to this port of a server, and sets the options of
    /// its socket. `own_port` queries the server for the client port of the connection; it is
    /// called if other sockets to that port were opened at the same moment. `warn` is called at the
    /// first failure to set the options; the connection works without them.
    ///
    /// # Errors
    ///
    /// Those of `connect` and `own_port`.
    ///
    /// # Cancel safety
    ///
    /// As `connect`.
    pub async fn connect<C>(
        &self,
        port: u16,
        connect: impl Future<Output = Result<C, Error>>,
        own_port: impl FnOnce(&mut C) -> BoxFuture<'_, Result<Option<u16>, Error>>,
        warn: impl FnOnce(String),
    ) -> Result<C, Error> {
        // Registered even without options, so that other pools know that a new socket may not be
        // theirs.
        let connecting = Connecting::begin(port, self.options);
        if self.options == Options::default() {
            return connect.await;
        }
        let before = descriptors().await;
        let mut conn = connect.await?;
        let outcome = match before {
            Ok(before) => new_sockets(port, before).await,
            Err(error) => Err(error),
        };
        let outcome = match outcome {
            Ok(found) => {
                let own_port = if found.len() > 1 { own_port(&mut conn).await? } else { None };
                // Called after the sockets were found, so that it counts the connect of each.
                set_options(self.options, found, own_port, connecting.0.max_sockets())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            warn(format!("the options of the TCP sockets of this pool could not be set: {error}"));
        }
        Ok(conn)
    }

    /// Sets the options of a socket of this process that is open already, which leads to this port
    /// of a server and, as the server sees it, comes from `own_port`. Where something in between
    /// hides that port, nothing is done.
    ///
    /// # Errors
    ///
    /// The kernel's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, they may have been set or not.
    pub async fn set_on_open(&self, port: u16, own_port: Option<u16>) -> Result<(), Error> {
        if self.options == Options::default() || own_port.is_none() {
            return Ok(());
        }
        let found = new_sockets(port, Default::default()).await?;
        Ok(set_options(self.options, found, own_port, 0)?)
    }
}

/// The connects in progress of all pools of this process.
static UNDER_WAY: Mutex<Vec<Arc<Overlaps>>> = Mutex::new(Vec::new());

fn under_way() -> MutexGuard<'static, Vec<Arc<Overlaps>>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connect to a port, and the connects that overlap with it.
#[derive(Debug)]
struct Overlaps {
    port: u16,
    options: Options,
    /// The number of overlapping connects to this port with the same options.
    same: AtomicUsize,
    /// Whether a connect with other options overlaps.
    others: AtomicBool,
}

/// A connect in progress; dropping it ends its registration.
struct Connecting(Arc<Overlaps>);

impl Connecting {
    fn begin(port: u16, options: Options) -> Self {
        let (same, others) = (AtomicUsize::new(0), AtomicBool::new(false));
        let new = Arc::new(Overlaps { port, options, same, others });
        let mut all = under_way();
        for other in all.iter().filter(|other| other.port == port) {
            other.add_overlap(&new);
            new.add_overlap(other);
        }
        all.push(Arc::clone(&new));
        Self(new)
    }
}

impl Overlaps {
    fn add_overlap(&self, other: &Self) {
        if self.options == other.options {
            self.same.fetch_add(1, Ordering::Relaxed);
        } else {
            self.others.store(true, Ordering::Relaxed);
        }
    }

    /// Returns how many new sockets to this port may get the options, because their connects have
    /// the same. One of them is this connect's own, so a single new socket is its own.
    fn max_sockets(&self) -> usize {
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
use linux::{descriptors, new_sockets, set_options};

#[cfg(target_os = "linux")]
mod linux {
    use super::{Options, PROBE_SHARE, PROBES};
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
    use std::time::Duration;
    use tokio::task::spawn_blocking;

    /// The sockets among the descriptors of this process, each with its unique name.
    type Descriptors = HashSet<(RawFd, PathBuf)>;

    pub(super) async fn descriptors() -> io::Result<Descriptors> {
        // Reading ten thousand descriptors takes some milliseconds.
        spawn_blocking(read_descriptors).await.map_err(io::Error::other)?
    }

    /// Returns the new sockets that are connected to this port.
    pub(super) async fn new_sockets(port: u16, before: Descriptors) -> io::Result<Vec<OwnedFd>> {
        let work = move || {
            let (sender, receiver) = UnixDatagram::pair()?;
            // Compared by name: a duplicate that another connect holds now is the same socket.
            let mut known: HashSet<PathBuf> = before.into_iter().map(|(_, name)| name).collect();
            let mut found = Vec::new();
            for (descriptor, name) in read_descriptors()? {
                if known.contains(&name) {
                    continue;
                }
                let copy = copied(descriptor, &sender, &receiver)?;
                if let Some(copy) = copy.filter(|copy| peer(copy).is_some_and(|it| it == port)) {
                    found.push(copy);
                    known.insert(name);
                }
            }
            Ok(found)
        };
        spawn_blocking(work).await.map_err(io::Error::other)?
    }

    /// Sets the options of the socket whose local port is `own_port`; if there is none, of all,
    /// unless there are more than `max_sockets`: then one may belong to another pool.
    pub(super) fn set_options(
        options: Options,
        found: Vec<OwnedFd>,
        own_port: Option<u16>,
        max_sockets: usize,
    ) -> io::Result<()> {
        let is_own = |socket: &OwnedFd| own_port.is_some() && local(socket) == own_port;
        if let Some(own) = found.iter().find(|socket| is_own(socket)) {
            return set(SockRef::from(own), options);
        }
        if found.len() > max_sockets {
            return Ok(());
        }
        found.iter().try_for_each(|socket| set(SockRef::from(socket), options))
    }

    fn read_descriptors() -> io::Result<Descriptors> {
        let mut found = Descriptors::new();
        for entry in fs::read_dir("/proc/self/fd")? {
            let entry = entry?;
            // One that was closed in the meantime cannot be read.
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

    /// Duplicates a descriptor by sending it through a socket. Returns `None` if it was closed in
    /// the meantime.
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

    fn peer(socket: &OwnedFd) -> Option<u16> {
        Some(SockRef::from(socket).peer_addr().ok()?.as_socket()?.port())
    }

    fn local(socket: &OwnedFd) -> Option<u16> {
        Some(SockRef::from(socket).local_addr().ok()?.as_socket()?.port())
    }

    fn set(socket: SockRef<'_>, options: Options) -> io::Result<()> {
        if let Some(idle) = options.idle {
            let interval = (idle / PROBE_SHARE).max(Duration::from_secs(1));
            let keepalive =
                TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(PROBES);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        match options.user_timeout {
            Some(limit) => socket.set_tcp_user_timeout(Some(limit)),
            None => Ok(()),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use millpond_core::TCP_USER_TIMEOUT;
        use std::net::{TcpListener, TcpStream};

        const S: fn(u64) -> Duration = Duration::from_secs;

        /// Opens a socket to the listener.
        fn connected(listener: &TcpListener) -> TcpStream {
            TcpStream::connect(listener.local_addr().unwrap()).unwrap()
        }

        fn seen(stream: &TcpStream) -> (Option<Duration>, Option<Duration>) {
            let socket = SockRef::from(stream);
            let idle = socket.keepalive().unwrap().then(|| socket.tcp_keepalive_time().unwrap());
            (idle, socket.tcp_user_timeout().unwrap())
        }

        #[test]
        fn both_are_set_on_the_socket_and_the_default_follows_a_short_keepalive() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            for (idle, user_timeout, expected) in [
                (Some(S(60)), Some(TCP_USER_TIMEOUT), (Some(S(60)), Some(S(300)))),
                (Some(S(6)), Some(TCP_USER_TIMEOUT), (Some(S(6)), Some(S(30)))),
                (Some(S(6)), Some(S(400)), (Some(S(6)), Some(S(400)))),
                (Some(S(6)), None, (Some(S(6)), None)),
                (None, Some(TCP_USER_TIMEOUT), (None, Some(S(300)))),
                (Some(S(0)), Some(S(0)), (None, None)),
            ] {
                let stream = connected(&listener);
                set(SockRef::from(&stream), Options::new(idle, user_timeout)).unwrap();
                assert_eq!(seen(&stream), expected);
            }
        }

        #[tokio::test]
        async fn of_several_new_sockets_the_one_with_the_servers_client_port_is_set() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let before = descriptors().await.unwrap();
            let streams = [connected(&listener), connected(&listener), connected(&listener)];
            let own = streams[1].local_addr().unwrap().port();
            let options = Options::new(Some(S(60)), None);
            let found = new_sockets(port, before.clone()).await.unwrap();
            set_options(options, found, Some(own), 3).unwrap();
            assert_eq!(streams.each_ref().map(|it| seen(it).0), [None, Some(S(60)), None]);
            // It sees another port.
            let found = new_sockets(port, before).await.unwrap();
            set_options(options, found, Some(1), 2).unwrap();
            assert_eq!(streams.each_ref().map(|it| seen(it).0), [None, Some(S(60)), None]);
        }
    }
}

#[cfg(not(target_os = "linux"))]
async fn descriptors() -> std::io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
async fn new_sockets(_port: u16, _before: ()) -> std::io::Result<Vec<()>> {
    Ok(Vec::new())
}

#[cfg(not(target_os = "linux"))]
fn set_options(
    _options: Options,
    _found: Vec<()>,
    _own_port: Option<u16>,
    _at_most: usize,
) -> std::io::Result<()> {
    Ok(())
}
