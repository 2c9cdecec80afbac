//! TCP keepalive for connections whose peer has vanished without a word: a host without power, a cable, a firewall.
//!
//! sqlx offers no options of its sockets and lends none of them. They are descriptors of this process, though: those that
//! are new after a connect are copied, and a copy that leads to the server's port is given the options. Original and copy
//! are one socket to the kernel. A descriptor that was closed and reused meanwhile is no danger, since the copy is looked
//! at, not the number.

use sqlx::Error;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

    /// Opens a connection to this port of a server by `connect`, and sets the options of its socket. `warn` is called at
    /// the first failure to do so; the connection works without them.
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
        let Some(idle) = self.idle else { return connect.await };
        let before = descriptors().await;
        let conn = connect.await?;
        let outcome = match before {
            Ok(before) => enable(idle, port, before).await,
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

#[cfg(target_os = "linux")]
use linux::{descriptors, enable};

#[cfg(target_os = "linux")]
mod linux {
    use super::{PROBE_SHARE, PROBES};
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

    /// The sockets among the descriptors of this process, each with the name that tells it from every other one.
    type Descriptors = HashSet<(RawFd, PathBuf)>;

    pub(super) async fn descriptors() -> io::Result<Descriptors> {
        // With ten thousand of them it takes some milliseconds.
        spawn_blocking(read_descriptors).await.map_err(io::Error::other)?
    }

    /// Sets the options of all sockets that are new and lead to this port.
    pub(super) async fn enable(idle: Duration, port: u16, before: Descriptors) -> io::Result<()> {
        let work = move || {
            let (sender, receiver) = UnixDatagram::pair()?;
            for (descriptor, _) in read_descriptors()?.difference(&before) {
                if let Some(copy) = copied(*descriptor, &sender, &receiver)? {
                    set_options(SockRef::from(&copy), idle, port)?;
                }
            }
            Ok(())
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
            if let Some(number) = number.filter(|_| target.as_os_str().as_encoded_bytes().starts_with(b"socket:")) {
                found.insert((number, target));
            }
        }
        Ok(found)
    }

    /// A copy of a descriptor, which the kernel makes when it is sent to another socket. `None` if it was closed meanwhile.
    fn copied(descriptor: RawFd, sender: &UnixDatagram, receiver: &UnixDatagram) -> io::Result<Option<OwnedFd>> {
        let message = [ControlMessage::ScmRights(&[descriptor])];
        let sent = sendmsg::<()>(sender.as_raw_fd(), &[IoSlice::new(&[0])], &message, MsgFlags::MSG_DONTWAIT, None);
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

    fn set_options(socket: SockRef<'_>, idle: Duration, port: u16) -> io::Result<()> {
        let leads_there = |peer: socket2::SockAddr| peer.as_socket().is_some_and(|peer| peer.port() == port);
        if !socket.peer_addr().is_ok_and(leads_there) {
            return Ok(());
        }
        let interval = (idle / PROBE_SHARE).max(Duration::from_secs(1));
        let options = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(PROBES);
        socket.set_tcp_keepalive(&options)?;
        // What was sent and is not acknowledged ends the connection after the same time.
        socket.set_tcp_user_timeout(Some(idle.saturating_add(interval.saturating_mul(PROBES))))
    }
}

#[cfg(not(target_os = "linux"))]
async fn descriptors() -> std::io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
async fn enable(_idle: Duration, _port: u16, _before: ()) -> std::io::Result<()> {
    Ok(())
}
