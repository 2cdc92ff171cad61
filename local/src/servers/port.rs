//! Ports on 127.0.0.1: free ones for the servers, and the one a caller names.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
};

use rand::Rng;
use tokio::net::{TcpListener, TcpSocket};

use super::error::StartError;

/// Where free ports are looked for: below the range from which Linux and macOS take the ports of outgoing connections,
/// so that a port chosen here is not taken by some client in the seconds a server needs until it listens.
const FREE_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Ports tried before giving up; a machine with so many listeners in the range has another problem.
const TRIES: u32 = 200;

/// Connections that may wait to be accepted: an on-sale's 2,000 customers arrive at once, and one that finds the queue
/// full tries again after a second.
const BACKLOG: u32 = 4_096;

/// A port of 127.0.0.1 on which nobody listens at this moment.
///
/// Somebody else may take it before its server does, so a server that ends at once is started again on another.
///
/// # Errors
/// [`StartError::Io`] when none was found in 200 tries.
pub fn free() -> Result<u16, StartError> {
    let mut last = None;
    for _ in 0..TRIES {
        let port = rand::rng().random_range(FREE_PORTS);
        match StdListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| ErrorKind::AddrInUse.into());
    Err(StartError::Io { doing: "looking for a free port on 127.0.0.1", source })
}

/// Refuses a port of 127.0.0.1 on which somebody listens: a server would only log so and end.
pub(super) fn must_be_free(port: u16) -> Result<(), StartError> {
    match StdListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(source) => Err(refusal((Ipv4Addr::LOCALHOST, port).into(), source)),
    }
}

/// Listens on an address a person chose; port 0 takes any free one.
///
/// # Errors
/// [`StartError::PortTaken`] when somebody listens there already.
pub fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listening = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listening().map_err(|source| refusal(address, source))
}

fn refusal(address: SocketAddr, source: io::Error) -> StartError {
    match source.kind() {
        ErrorKind::AddrInUse => StartError::PortTaken(address),
        _ => StartError::Io { doing: "listening", source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_in_one_line() {
        let first = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = first.local_addr().unwrap();
        let error = listen(address).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{address} is already in use")), "{error}");
    }
}
