//! DynamoDB Local, AWS' own emulator, as a child process.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    child::{Child, Folder},
    error::StartError,
    jars::Jars,
    port,
};

const JARS: Jars = Jars {
    server: "DynamoDB Local",
    folder: "jars-dynamodb-local-3.1.0",
    pom: include_str!("../../servers/dynamodb-local/pom.xml"),
};

/// It is up in 3 s on an idle machine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Starts on another port when somebody took the first.
const TRIES: u32 = 3;

/// An empty in-memory DynamoDB. Dies when dropped.
///
/// It has no bind option and listens on every interface; [`DynamoDbLocal::endpoint`] names 127.0.0.1.
#[derive(Debug)]
pub struct DynamoDbLocal {
    port: u16,
    child: Child,
}

impl DynamoDbLocal {
    /// Starts it, with its jars from below `cache`, and waits until it answers.
    ///
    /// # Errors
    /// [`StartError::Missing`] without Java or Maven, [`StartError::Jars`], or what kept it from answering within 60 s.
    pub async fn start(cache: &Path) -> Result<Self, StartError> {
        let class_path = JARS.class_path(cache).await?;
        let mut tries = 1;
        loop {
            match Self::start_on(port::free()?, &class_path).await {
                Err(StartError::Ended { .. }) if tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }

    async fn start_on(port: u16, class_path: &str) -> Result<Self, StartError> {
        let port_text = port.to_string();
        let arguments = [
            "java",
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            class_path,
            "software.amazon.dynamodb.services.local.main.ServerRunner",
            "-inMemory",
            "-disableTelemetry",
            "-port",
            &port_text,
        ];
        let mut child = Child::spawn(JARS.server, Folder::new("dynamodb-local")?, arguments)?;
        child.until_it_answers(ANSWERS_WITHIN, || async move { speaks_http(port).await.unwrap_or(false) }).await?;
        Ok(Self { port, child })
    }

    /// What the SDK takes as its endpoint.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
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

/// Whether anything that looks like HTTP comes back; a request without a signature is answered with an error.
async fn speaks_http(port: u16) -> std::io::Result<bool> {
    const STATUS_LINE: &[u8] = b"HTTP/1.1 ";
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await?;
    let mut start = [0; STATUS_LINE.len()];
    stream.read_exact(&mut start).await?;
    Ok(start == STATUS_LINE)
}
