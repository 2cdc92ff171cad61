//! A runner of the write-back job as a process of its own, to be frozen: `tests/runner.rs`.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::{Office, PATIENCE, signal};

/// The process, which has the lock and a batch and is about to add it. Dropping it kills it.
pub struct Runner {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Runner {
    /// Starts it, and comes back once it is about to add what it has counted.
    pub async fn about_to_add(office: &Office) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_runner"))
            .envs(office.system.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut runner = Self { process, input, output: BufReader::new(output).lines() };
        let line = runner.line().await;
        assert_eq!(line, "about to add");
        runner
    }

    /// Stops it where it stands, its timers and its watchdog too.
    pub fn freeze(&self) {
        signal("-STOP", self.process.id().unwrap());
    }

    /// Lets it go on and do its add, and returns its report.
    pub async fn thaw(mut self) -> Value {
        self.input.write_all(b"add\n").await.unwrap();
        signal("-CONT", self.process.id().unwrap());
        let report = serde_json::from_str(&self.line().await).unwrap();
        assert!(timeout(PATIENCE, self.process.wait()).await.unwrap().unwrap().success());
        report
    }

    async fn line(&mut self) -> String {
        timeout(PATIENCE, self.output.next_line()).await.expect("the runner says nothing").unwrap().unwrap()
    }
}
