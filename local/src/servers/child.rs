//! A server process that cannot outlive this one, however this one ends.
//!
//! `kill -9` runs no destructor, and asking the kernel for a death signal needs unsafe code. So each server runs under a
//! small `sh` that holds the reading end of a pipe from us: when the pipe closes, because we dropped it or because we
//! are gone, the shell kills the server and removes its folder.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child as Process, ChildStdin, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use tokio::{task::spawn_blocking, time};
use uuid::Uuid;

use super::error::StartError;

/// Runs `$2…` with its output in `$1/log`, says its pid, kills it and removes `$1` when standard input closes, and ends
/// when it ends, with its status. A server that ended by itself leaves its log to be read.
/// Without job control a shell gives background commands no standard input, hence descriptor 3.
pub(super) const GUARD: &str = r#"
folder=$1; shift
"$@" </dev/null >"$folder/log" 2>&1 &
server=$!
echo "$server"
exec 3<&0 1>/dev/null
( while read -r _ <&3; do :; done; : >"$folder/closed"; kill -9 "$server" ) 2>/dev/null &
watcher=$!
wait "$server"; status=$?
kill "$watcher" 2>/dev/null
[ -e "$folder/closed" ] && rm -rf "$folder"
exit "$status"
"#;

/// How much of a log is read for a server's last words, in bytes.
const LAST_WORDS: usize = 4_096;

/// The longest a killed server may take to disappear; a JVM gives back its memory in well under a second.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// How often a server that is starting, or going, is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running server process with a folder of its own. Dropping it kills the process and removes the folder.
#[derive(Debug)]
pub struct Child {
    server: &'static str,
    pid: u32,
    folder: Option<Folder>,
    /// The pipe that keeps the server alive.
    lifeline: Option<ChildStdin>,
    guard: Option<Process>,
}

impl Child {
    /// Starts `command` with its output in the folder's `log`. `server` is its name for people.
    ///
    /// # Errors
    /// [`StartError::Io`] when no process can be made. A program that does not exist is met later, by [`Child::ended`];
    /// ask [`find`] first.
    pub fn spawn<I, S>(server: &'static str, folder: Folder, command: I) -> Result<Self, StartError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(folder.path())
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C reaches the whole group of the terminal; the servers are to live until their users have stopped.
            .process_group(0)
            .spawn()
            .map_err(StartError::io("starting sh"))?;
        let lifeline = guard.stdin.take();
        let mut line = String::new();
        if let Some(output) = guard.stdout.take() {
            BufReader::new(output).read_line(&mut line).map_err(StartError::io("reading a server's pid"))?;
        }
        let pid = line.trim().parse().map_err(|_| StartError::Ended {
            server,
            last_words: "the shell that guards it did not start it".into(),
        })?;
        Ok(Self { server, pid, folder: Some(folder), lifeline, guard: Some(guard) })
    }

    /// The server's own process id, to be sent signals.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How the server ended, or `None` while it runs.
    ///
    /// # Errors
    /// [`StartError::Io`] when the operating system cannot say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, StartError> {
        match &mut self.guard {
            Some(guard) => guard.try_wait().map_err(StartError::io("asking after a server")),
            None => Ok(None),
        }
    }

    /// Polls `answers` until it says so, at most for `bound`.
    ///
    /// # Errors
    /// [`StartError::Ended`] when the process ends first, [`StartError::Silent`] when the time is over.
    pub async fn until_it_answers<F>(
        &mut self,
        bound: Duration,
        mut answers: impl FnMut() -> F,
    ) -> Result<(), StartError>
    where
        F: Future<Output = bool>,
    {
        let deadline = time::Instant::now() + bound;
        loop {
            if self.ended()?.is_some() {
                return Err(StartError::Ended { server: self.server, last_words: self.last_words() });
            }
            match time::timeout_at(deadline, answers()).await {
                Ok(true) => return Ok(()),
                Ok(false) => time::sleep(LOOK_EVERY).await,
                Err(_) => return Err(StartError::Silent { server: self.server, bound, last_words: self.last_words() }),
            }
        }
    }

    /// Waits for a command that ends by itself, at most for `bound`.
    ///
    /// # Errors
    /// [`StartError::Ended`] when it fails, [`StartError::Silent`] when it takes longer.
    pub async fn until_it_is_done(mut self, bound: Duration) -> Result<(), StartError> {
        let deadline = time::Instant::now() + bound;
        while time::Instant::now() < deadline {
            match self.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(_) => return Err(StartError::Ended { server: self.server, last_words: self.last_words() }),
                None => time::sleep(LOOK_EVERY).await,
            }
        }
        Err(StartError::Silent { server: self.server, bound, last_words: self.last_words() })
    }

    /// Kills the server and waits until it is gone.
    ///
    /// # Errors
    /// [`StartError::Silent`] when it is still there after ten seconds.
    pub async fn stop(mut self) -> Result<(), StartError> {
        drop(self.lifeline.take());
        let Some(mut guard) = self.guard.take() else { return Ok(()) };
        let waiting = spawn_blocking(move || guard.wait());
        match time::timeout(GONE_WITHIN, waiting).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(source))) => Err(StartError::Io { doing: "waiting for a server's end", source }),
            Ok(Err(_)) | Err(_) => Err(StartError::Silent {
                server: self.server,
                bound: GONE_WITHIN,
                last_words: "it does not die".into(),
            }),
        }
    }

    /// The end of what the server logged.
    fn last_words(&self) -> String {
        let Some(folder) = &self.folder else { return String::new() };
        let log = fs::read(folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LAST_WORDS)..]).into_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let folder = self.folder.take();
        if let Some(mut guard) = self.guard.take() {
            // The guard does the killing; the thread only keeps it from staying as a zombie.
            thread::spawn(move || {
                if let Err(error) = guard.wait() {
                    tracing::warn!(%error, "the guard of a server could not be waited for");
                }
                drop(folder);
            });
        }
    }
}

/// A folder of our own below the system's temporary one; removed on drop.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a new, empty one; `purpose` is part of its name.
    ///
    /// # Errors
    /// [`StartError::Io`] when it cannot be made.
    pub fn new(purpose: &str) -> Result<Self, StartError> {
        let path = std::env::temp_dir().join(format!("{purpose}-{}", Uuid::new_v4().simple()));
        fs::create_dir(&path).map_err(StartError::io("making a temporary folder"))?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, folder = %self.0.display(), "a temporary folder stays");
        }
    }
}

/// The first of `programs` that is on the search path.
///
/// # Errors
/// [`StartError::Io`] when the shell cannot be asked.
pub fn find(programs: &[&'static str]) -> Result<Option<&'static str>, StartError> {
    for program in programs {
        let status = Command::new("sh")
            .args(["-c", r#"command -v "$1" >/dev/null"#, "find", program])
            .stdin(Stdio::null())
            .status()
            .map_err(StartError::io("starting sh"))?;
        if status.success() {
            return Ok(Some(program));
        }
    }
    Ok(None)
}
