//! Sockets: unix and TCP, with the few calls that a connection needs.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use crate::client::Peer;

/// `IOV_MAX`: what one call takes.
const MAX_SLICES: usize = 1024;

/// A connected stream socket: `From` those of the standard library. It is made blocking.
#[derive(Debug)]
pub struct Stream(Kind<UnixStream, TcpStream>);

/// A listening stream socket: `From` those of the standard library. It is made non-blocking.
#[derive(Debug)]
pub struct Listener(Kind<UnixListener, TcpListener>);

#[derive(Debug)]
enum Kind<U, T> {
    Unix(U),
    Tcp(T),
}

impl<U: AsFd, T: AsFd> AsFd for Kind<U, T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(socket) => socket.as_fd(),
            Self::Tcp(socket) => socket.as_fd(),
        }
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Self {
        Self(Kind::Unix(socket))
    }
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self(Kind::Tcp(socket))
    }
}

impl From<UnixListener> for Listener {
    fn from(socket: UnixListener) -> Self {
        Self(Kind::Unix(socket))
    }
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self(Kind::Tcp(socket))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    /// Prepares it for [`Listener::accept`].
    pub(crate) fn prepare(&self) -> io::Result<()> {
        match &self.0 {
            Kind::Unix(socket) => socket.set_nonblocking(true),
            Kind::Tcp(socket) => socket.set_nonblocking(true),
        }
    }

    /// Takes the next connection, if there is one.
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        Ok(match &self.0 {
            Kind::Unix(socket) => socket.accept()?.0.into(),
            Kind::Tcp(socket) => socket.accept()?.0.into(),
        })
    }
}

/// What a receive brought.
pub(crate) enum Arrived {
    Bytes(usize),
    /// Nothing, in the time that is set.
    Nothing,
    /// The other end has ended, or is gone.
    End,
}

impl Stream {
    /// Makes it what a connection takes.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        match &self.0 {
            Kind::Unix(socket) => socket.set_nonblocking(false),
            Kind::Tcp(socket) => {
                socket.set_nonblocking(false)?;
                // Replies are gathered here; nothing is won by the kernel's waiting for more. A peer that is gone without a
                // word is found out.
                socket.set_nodelay(true)?;
                Ok(rustix::net::sockopt::set_socket_keepalive(socket, true)?)
            }
        }
    }

    /// Says who is at the other end.
    pub(crate) fn peer(&self) -> io::Result<Peer> {
        match &self.0 {
            Kind::Unix(socket) => {
                let peer = nix::sys::socket::getsockopt(socket, nix::sys::socket::sockopt::PeerCredentials)?;
                Ok(Peer::Process {
                    pid: peer.pid().cast_unsigned(),
                    uid: peer.uid(),
                    gid: peer.gid(),
                })
            }
            Kind::Tcp(socket) => Ok(Peer::Address(socket.peer_addr()?)),
        }
    }

    /// Sets how long one receive waits, and one send; 0 is no bound.
    pub(crate) fn set_patience(&self, receive: Duration, send: Duration) -> io::Result<()> {
        let (receive, send) = (some(receive), some(send));
        match &self.0 {
            Kind::Unix(socket) => {
                socket.set_read_timeout(receive)?;
                socket.set_write_timeout(send)
            }
            Kind::Tcp(socket) => {
                socket.set_read_timeout(receive)?;
                socket.set_write_timeout(send)
            }
        }
    }

    /// Receives what is there; if nothing is and `may_wait`, waits until something is or the time that is set is over.
    pub(crate) fn receive(&self, into: &mut [u8], may_wait: bool) -> Arrived {
        arrived(|| rustix::net::recv(self, &mut *into, flags(may_wait)).map(|(_, bytes)| bytes))
    }

    /// Receives into `first`, and what it does not take into `second`.
    pub(crate) fn receive_both(&self, first: &mut [u8], second: &mut [u8], may_wait: bool) -> Arrived {
        arrived(|| {
            let mut slices = [IoSliceMut::new(first), IoSliceMut::new(second)];
            let mut control = RecvAncillaryBuffer::default();
            rustix::net::recvmsg(self, &mut slices, &mut control, flags(may_wait))
                .map(|received| received.bytes)
        })
    }

    /// Sends all of `slices`, waiting until the other end takes it.
    pub(crate) fn send(&self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        // An empty slice at the front would look like a send that makes no progress.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let some = &slices[..slices.len().min(MAX_SLICES)];
            let mut control = SendAncillaryBuffer::default();
            match rustix::net::sendmsg(self, some, &mut control, SendFlags::NOSIGNAL) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => IoSlice::advance_slices(&mut slices, bytes),
                Err(Errno::INTR) => (),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends some of `bytes`, in the time that is set.
    pub(crate) fn send_some(&self, bytes: &[u8]) -> Option<usize> {
        loop {
            return match rustix::net::send(self, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) if sent > 0 => Some(sent),
                Err(Errno::INTR) => continue,
                _ => None,
            };
        }
    }

    /// Sends all of `bytes`.
    pub(crate) fn send_bytes(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(self, bytes, SendFlags::NOSIGNAL) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => bytes = &bytes[sent..],
                Err(Errno::INTR) => (),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Tells whether the other end can send no more once the receiving has ended, so that it does end.
    pub(crate) fn stops_sender(&self) -> bool {
        matches!(self.0, Kind::Unix(_))
    }

    /// Ends the receiving: what has come is still received, and then the end.
    pub(crate) fn end_receiving(&self) {
        // It fails when the other end is gone, and then there is nothing to end.
        let _ = rustix::net::shutdown(self, Shutdown::Read);
    }

    /// Ends both ways; who waits for this socket waits no more.
    pub(crate) fn end(&self) {
        let _ = rustix::net::shutdown(self, Shutdown::Both);
    }
}

fn some(patience: Duration) -> Option<Duration> {
    (!patience.is_zero()).then_some(patience)
}

fn flags(may_wait: bool) -> RecvFlags {
    match may_wait {
        true => RecvFlags::empty(),
        false => RecvFlags::DONTWAIT,
    }
}

fn arrived(mut receive: impl FnMut() -> rustix::io::Result<usize>) -> Arrived {
    loop {
        return match receive() {
            Ok(0) => Arrived::End,
            Ok(bytes) => Arrived::Bytes(bytes),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Arrived::Nothing,
            // However the connection broke, nothing more comes.
            Err(_) => Arrived::End,
        };
    }
}
