//! Listens to what Redis is asked, over a connection of its own: a client library would not let MONITOR through.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::PATIENCE;

/// Redis' address from `redis://host:port`.
pub fn address(url: &str) -> &str {
    url.trim_start_matches("redis://")
}

/// An open MONITOR.
pub struct Monitor {
    lines: Lines<BufReader<OwnedReadHalf>>,
    _kept_open: OwnedWriteHalf,
    address: String,
    marks: u32,
}

impl Monitor {
    /// Listens from now on.
    pub async fn start(url: &str) -> Self {
        let address = address(url).to_owned();
        let (reader, mut writer) = TcpStream::connect(&address).await.unwrap().into_split();
        writer.write_all(b"MONITOR\r\n").await.unwrap();
        let mut lines = BufReader::new(reader).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("+OK"));
        Self { lines, _kept_open: writer, address, marks: 0 }
    }

    /// The commands clients have sent since the last look; what a script did on their behalf is not among them.
    pub async fn commands(&mut self) -> Vec<String> {
        self.marks += 1;
        let mark = format!("monitor-mark-{}", self.marks);
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(format!("ECHO {mark}\r\n").as_bytes()).await.unwrap();
        let mut commands = Vec::new();
        loop {
            let line = timeout(PATIENCE, self.lines.next_line()).await.unwrap().unwrap().unwrap();
            if line.contains(&mark) {
                return commands;
            }
            // `+<time> [<db> <client address, or lua>] "<command>" …`
            let (from, command) = line.split_once("] ").unwrap();
            if !from.ends_with(" lua") {
                commands.push(command.to_owned());
            }
        }
    }
}
