//! A raw socket in place of a serial port: instruments with a network plug (mostly port 5025), terminal servers.
//!
//! **Promises.** As of a port: reading waits at most as long as it is told, writing never, and the other side's end is told
//! as a hang-up, as is one that has vanished without a word ([`limits::PEER_GONE`]). The name is looked up at each opening.
//! **Blocking.** Opening takes [`CONNECT`] for each address, and what the system takes to look up a name: it is far, and
//! done by a thread of its own.

use super::super::dial;
use super::super::instruments::Wake;
use super::ports::{Line, gone};
use super::{OpenPort, Port};
use crate::config::{Device, SerialPort};
use crate::limits;
use rustix::io::Errno;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::TcpStream;
use std::time::Duration;

/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// A silent line is probed this often, so that a pulled network plug is noticed.
const PROBE: Duration = Duration::from_secs(5);

/// Opens sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sockets;

impl OpenPort for Sockets {
    fn open(&self, settings: &SerialPort) -> io::Result<Box<dyn Port>> {
        let Device::Tcp(address) = &settings.device else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this port is no socket"));
        };
        let device = &settings.device;
        let failed = |e: io::Error| {
            let why = match e.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                    format!("no answer within {CONNECT:?}; is it switched on and in this network?")
                }
                io::ErrorKind::ConnectionRefused => {
                    "connection refused: nothing listens there (is it the right port, and on?)".to_string()
                }
                _ => e.to_string(),
            };
            // Nobody there, as with a cable that is not plugged in.
            io::Error::new(io::ErrorKind::NotFound, format!("failed to open `{device}`: {why}"))
        };
        dial::connect(address, CONNECT).and_then(Connection::of).map_err(failed)
    }

    fn is_far(&self) -> bool {
        true
    }

    fn is_there(&self, _settings: &SerialPort) -> bool {
        // Nothing short of opening it would tell.
        false
    }
}

/// An open socket.
struct Connection(Line);

impl Connection {
    fn of(stream: TcpStream) -> io::Result<Box<dyn Port>> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_user_timeout(Some(limits::PEER_GONE))?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE).with_interval(PROBE))?;
        Ok(Box::new(Connection(Line::of(stream.into())?)))
    }

    /// What is there now; none.
    fn take(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::read(self.0.fd(), buffer) {
            Ok(0) => Err(gone()),
            Ok(n) => Ok(Some(n)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(
                Errno::CONNRESET | Errno::PIPE | Errno::TIMEDOUT | Errno::HOSTUNREACH | Errno::NETUNREACH,
            ) => Err(gone()),
            Err(e) => Err(e.into()),
        }
    }
}

impl Port for Connection {
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        if !self.0.wait(wait)? {
            return Ok(0);
        }
        Ok(self.take(buffer)?.unwrap_or(0))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn clear_input(&mut self) -> io::Result<()> {
        // As much as a device could have sent; one that floods is not waited for.
        let mut buffer = [0; 4096];
        for _ in 0..64 {
            if self.take(&mut buffer)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn waker(&self) -> Option<Wake> {
        Some(self.0.wake())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LineConfig, LineFormat, ProtocolConfig, Sink};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    fn settings(address: &str) -> SerialPort {
        let line = ProtocolConfig::Line(LineConfig::of(LineFormat::Json));
        SerialPort::of("t", Device::Tcp(address.into()), line, Sink::Stream("t".into()))
    }

    #[test]
    fn a_socket_is_a_port_and_its_end_a_hang_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut port = Sockets.open(&settings(&address)).unwrap();
        let (mut device, _) = listener.accept().unwrap();
        let mut buffer = [0; 16];
        assert_eq!(port.read(&mut buffer, Duration::from_millis(5)).unwrap(), 0);
        assert_eq!(port.write(b"*IDN?\n").unwrap(), 6);
        device.read_exact(&mut buffer[..6]).unwrap();
        device.write_all(b"old").unwrap();
        port.clear_input().unwrap();
        let wake = port.waker().unwrap();
        let start = Instant::now();
        wake();
        assert_eq!(port.read(&mut buffer, Duration::from_millis(200)).unwrap(), 0);
        assert!(start.elapsed() < Duration::from_millis(150));
        device.write_all(b"last").unwrap();
        drop(device);
        let mut heard = Vec::new();
        let gone = loop {
            match port.read(&mut buffer, Duration::from_millis(200)) {
                Ok(n) => heard.extend_from_slice(&buffer[..n]),
                Err(e) => break e,
            }
            assert!(start.elapsed() < Duration::from_secs(5), "a hang-up reads as silence");
        };
        assert_eq!((gone.kind(), &heard[..]), (io::ErrorKind::NotConnected, &b"last"[..]));
    }

    #[test]
    fn writing_never_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut port = Sockets.open(&settings(&listener.local_addr().unwrap().to_string())).unwrap();
        let _device = listener.accept().unwrap();
        let start = Instant::now();
        while port.write(&[b'x'; 65_536]).unwrap() > 0 {
            assert!(start.elapsed() < Duration::from_secs(10));
        }
    }

    #[test]
    fn what_can_not_be_opened_says_why() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let refused = Sockets.open(&settings(&free)).err().unwrap().to_string();
        assert_eq!(
            refused,
            format!(
                "failed to open `tcp://{free}`: connection refused: nothing listens there (is it the right port, and on?)"
            )
        );
    }
}
