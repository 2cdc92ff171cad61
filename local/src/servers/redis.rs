//! `redis-server`, or `valkey-server`, as a child process: cheap enough to start one for every system.

use std::{net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    child::{Child, Folder, find},
    error::StartError,
    port,
};

/// Its name for people.
const NAME: &str = "redis-server";

/// Redis starts in some 20 ms; the rest is for a machine that builds and tests on every core.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);

/// Starts on another port when somebody took the first.
const TRIES: u32 = 5;

/// Enough of `INFO server` to hold its `process_id`, in bytes.
const ENOUGH_INFO: usize = 4_096;

/// One node without persistence, on a free port of 127.0.0.1. Dies when dropped.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    child: Child,
}

impl Redis {
    /// Starts an empty node and waits until it answers.
    ///
    /// # Errors
    /// [`StartError::Missing`] without a server on the search path; else whatever kept it from answering within 15 s.
    pub async fn start() -> Result<Self, StartError> {
        let mut tries = 1;
        loop {
            match Self::start_on(port::free()?).await {
                Err(StartError::Ended { .. } | StartError::PortTaken(_)) if tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }

    /// The same on a port of the caller's choice: how a killed node comes back, empty, where its clients look for it.
    ///
    /// # Errors
    /// As [`Redis::start`]; [`StartError::PortTaken`] when somebody listens there.
    pub async fn start_on(port: u16) -> Result<Self, StartError> {
        let Some(program) = find(&["redis-server", "valkey-server"])? else {
            return Err(StartError::Missing {
                program: NAME,
                apt: "apt install redis-server",
                dnf: "dnf install valkey",
                brew: "brew install redis",
            });
        };
        port::must_be_free(port)?;
        let folder = Folder::new("redis")?;
        let (port_text, path) = (port.to_string(), folder.path().display().to_string());
        let arguments = [
            program,
            "--port",
            &port_text,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            &path,
            "--daemonize",
            "no",
        ];
        let mut child = Child::spawn(NAME, folder, arguments)?;
        let pid = child.pid();
        child.until_it_answers(ANSWERS_WITHIN, || async move { process_id(port).await == Some(pid) }).await?;
        Ok(Self { port, child })
    }

    /// `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's own process id, to be sent signals.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// As [`Child::stop`].
    pub async fn stop(self) -> Result<(), StartError> {
        self.child.stop().await
    }
}

/// Which process answers on the port: a stranger who took it first must not be mistaken for our server.
async fn process_id(port: u16) -> Option<u32> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    stream.write_all(b"INFO server\r\n").await.ok()?;
    let mut info = Vec::new();
    while info.len() < ENOUGH_INFO && stream.read_buf(&mut info).await.ok()? > 0 {
        let text = String::from_utf8_lossy(&info);
        if let Some((digits, _)) = text.split_once("process_id:").and_then(|(_, rest)| rest.split_once('\r')) {
            return digits.parse().ok();
        }
    }
    None
}
