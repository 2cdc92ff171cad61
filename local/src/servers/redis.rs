//! `redis-server`, or `valkey-server`, as a child process: cheap enough to start one for every system.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
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
    socket: PathBuf,
    child: Child,
}

/// What its clients meet.
enum Door<'a> {
    /// Plain text.
    Open,
    /// TLS and nothing else, with this certificate and its key, as PEM.
    Secured { certificate: &'a str, key: &'a str },
}

impl Redis {
    /// Starts an empty node and waits until it answers.
    ///
    /// # Errors
    /// [`StartError::Missing`] without a server on the search path; else whatever kept it from answering within 15 s.
    pub async fn start() -> Result<Self, StartError> {
        Self::start_behind(Door::Open).await
    }

    /// The same with TLS and no other way in, but for whoever may open its [`socket`](Self::socket).
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn start_secured(certificate: &str, key: &str) -> Result<Self, StartError> {
        Self::start_behind(Door::Secured { certificate, key }).await
    }

    async fn start_behind(door: Door<'_>) -> Result<Self, StartError> {
        let mut tries = 1;
        loop {
            match Self::start_with(port::free()?, &door).await {
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
        Self::start_with(port, &Door::Open).await
    }

    async fn start_with(port: u16, door: &Door<'_>) -> Result<Self, StartError> {
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
        let file = |name: &str| folder.path().join(name);
        let (socket, certificate_file, key_file) = (file("socket"), file("certificate.pem"), file("key.pem"));
        let [socket_path, certificate_path, key_path] =
            [&socket, &certificate_file, &key_file].map(|path| path.display().to_string());
        let door = match door {
            Door::Open => vec!["--port", &port_text],
            Door::Secured { certificate, key } => {
                let writing = StartError::io("writing Redis' certificate");
                fs::write(&certificate_file, certificate).and_then(|()| fs::write(&key_file, key)).map_err(writing)?;
                let files = ["--tls-cert-file", &certificate_path, "--tls-key-file", &key_path];
                [&["--port", "0", "--tls-port", &port_text, "--tls-auth-clients", "no"][..], &files].concat()
            }
        };
        let always = [
            "--unixsocket",
            &socket_path,
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
        let secured = door.len() > 2;
        let mut child = Child::spawn(NAME, folder, [&[program][..], &door, &always].concat())?;
        let pid = child.pid();
        let answers = || async {
            // Behind TLS the socket speaks for the server, which opens it last.
            let said = match secured {
                true => process_id(UnixStream::connect(&socket).await.ok()?).await,
                false => process_id(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?).await,
            };
            said.filter(|said| *said == pid)
        };
        child.until_it_answers(ANSWERS_WITHIN, || async { answers().await.is_some() }).await?;
        Ok(Self { port, socket, child })
    }

    /// `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A socket on which it answers in plain text.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
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

/// Which process answers: a stranger who took the port first must not be mistaken for our server.
async fn process_id(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<u32> {
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
