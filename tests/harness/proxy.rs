//! The wire to Redis, where a test can break it: cut after so many bytes of an answer, hold answers back, or put other
//! bytes into what is sent.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use local::system::FrontRedis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::monitor::address;

/// Read at a time, in bytes.
const CHUNK: usize = 16 * 1024;

/// A proxy in front of one server. Dropping it closes every connection through it.
pub struct Proxy {
    url: String,
    rules: Arc<Rules>,
    accepting: JoinHandle<()>,
}

struct Rules {
    target: OnceLock<String>,
    cut: Mutex<Cut>,
    cuts: AtomicUsize,
    holding: watch::Sender<bool>,
    /// What is replaced on the way to the server, by what, both of one length.
    replacement: OnceLock<(Vec<u8>, Vec<u8>)>,
    replaced: AtomicUsize,
}

#[derive(Clone, Copy)]
enum Cut {
    Never,
    /// After so many more bytes of answers, one connection.
    Once(usize),
    /// After so many more bytes of answers, every connection that brings another.
    Always(usize),
}

impl Proxy {
    /// Listens; [`front`](Self::front) says in front of what.
    pub async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let rules = Arc::new(Rules {
            target: OnceLock::new(),
            cut: Mutex::new(Cut::Never),
            cuts: AtomicUsize::new(0),
            holding: watch::Sender::new(false),
            replacement: OnceLock::new(),
            replaced: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&rules)));
        Self { url, rules, accepting }
    }

    /// To be put in front of a system's Redis.
    pub fn front(&self) -> FrontRedis {
        let (url, rules) = (self.url.clone(), Arc::clone(&self.rules));
        Box::new(move |redis| {
            rules.target.set(address(redis).to_owned()).unwrap();
            url
        })
    }

    /// Cuts one connection after `bytes` more bytes of answers: they arrive, what follows is lost.
    pub fn cut_once_after(&self, bytes: usize) {
        *self.rules.cut.lock().unwrap() = Cut::Once(bytes);
    }

    /// Cuts every connection that brings an answer after `bytes` more bytes.
    pub fn cut_always_after(&self, bytes: usize) {
        *self.rules.cut.lock().unwrap() = Cut::Always(bytes);
    }

    /// Cuts no more.
    pub fn mend(&self) {
        *self.rules.cut.lock().unwrap() = Cut::Never;
    }

    /// Connections cut so far.
    pub fn cuts(&self) -> usize {
        self.rules.cuts.load(Ordering::SeqCst)
    }

    /// Holds answers back from now on, or lets them through again.
    pub fn hold(&self, holding: bool) {
        self.rules.holding.send_replace(holding);
    }

    /// Replaces these bytes by as many others in whatever is sent to the server.
    pub fn replace(&self, from: &str, to: &str) {
        assert_eq!(from.len(), to.len(), "lengths stand in the protocol");
        self.rules.replacement.set((from.into(), to.into())).unwrap();
    }

    /// How often something was replaced.
    pub fn replaced(&self) -> usize {
        self.rules.replaced.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, rules: Arc<Rules>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        let rules = Arc::clone(&rules);
        connections.spawn(async move {
            // However it ends, both sides are closed: that is all a client may learn.
            if let Err(error) = carry(client, &rules).await {
                eprintln!("proxy: {error}");
            }
        });
    }
}

async fn carry(client: TcpStream, rules: &Rules) -> io::Result<()> {
    client.set_nodelay(true)?;
    let Some(target) = rules.target.get() else { return Ok(()) };
    let server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        ended = rules.requests(from_client, to_server) => ended,
        ended = rules.answers(from_server, to_client) => ended,
    }
}

impl Rules {
    async fn requests(&self, mut client: OwnedReadHalf, mut server: OwnedWriteHalf) -> io::Result<()> {
        let mut waiting = Vec::new();
        loop {
            if client.read_buf(&mut waiting).await? == 0 {
                return Ok(());
            }
            let ready = match self.replacement.get() {
                Some((from, to)) => {
                    self.replaced.fetch_add(replace_all(&mut waiting, from, to), Ordering::SeqCst);
                    waiting.len() - begun(&waiting, from)
                }
                None => waiting.len(),
            };
            server.write_all(&waiting[..ready]).await?;
            waiting.drain(..ready);
        }
    }

    async fn answers(&self, mut server: OwnedReadHalf, mut client: OwnedWriteHalf) -> io::Result<()> {
        let mut holding = self.holding.subscribe();
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = server.read(&mut chunk).await?;
            if length == 0 || holding.wait_for(|holding| !holding).await.is_err() {
                return Ok(());
            }
            let passing = self.passing(length);
            client.write_all(&chunk[..passing]).await?;
            if passing < length {
                self.cuts.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
        }
    }

    /// How many of so many bytes of an answer arrive.
    fn passing(&self, length: usize) -> usize {
        let mut cut = self.cut.lock().unwrap();
        match *cut {
            Cut::Never => length,
            Cut::Once(left) if left < length => {
                *cut = Cut::Never;
                left
            }
            Cut::Once(left) => {
                *cut = Cut::Once(left - length);
                length
            }
            Cut::Always(left) => {
                let passing = left.min(length);
                *cut = Cut::Always(left - passing);
                passing
            }
        }
    }
}

fn replace_all(bytes: &mut [u8], from: &[u8], to: &[u8]) -> usize {
    let mut found = 0;
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + from.len()].copy_from_slice(to);
            found += 1;
            at += from.len();
        } else {
            at += 1;
        }
    }
    found
}

/// How many bytes at the end may be the beginning of `from`, whose rest has not come yet.
fn begun(bytes: &[u8], from: &[u8]) -> usize {
    let longest = (from.len() - 1).min(bytes.len());
    (1..=longest).rev().find(|length| from.starts_with(&bytes[bytes.len() - length..])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{begun, replace_all};

    #[test]
    fn what_is_replaced_is_found_wherever_the_stream_was_split() {
        let (from, to, text) = (b"abcab", b"XXXXX", b"..abcab.abcabcab..ab");
        for split in 0..text.len() {
            let (mut sent, mut waiting, mut found) = (Vec::new(), Vec::new(), 0);
            for part in [&text[..split], &text[split..]] {
                waiting.extend_from_slice(part);
                found += replace_all(&mut waiting, from, to);
                let ready = waiting.len() - begun(&waiting, from);
                sent.extend(waiting.drain(..ready));
            }
            assert_eq!(
                (sent.as_slice(), waiting.as_slice(), found),
                (&b"..XXXXX.XXXXXcab.."[..], &b"ab"[..], 2),
                "{split}"
            );
        }
    }
}
