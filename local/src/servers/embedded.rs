//! The threads of the servers that live in this process.
//!
//! They are not the caller's: the embedded DynamoDB blocks its thread in SQLite, a test may run on one thread or pause
//! its clock, and a server has to outlive the runtime of whoever happened to start it.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};

use super::error::StartError;

/// One for the broker to answer while the database computes.
const THREADS: usize = 2;

/// A runtime that may be dropped anywhere: its tasks are cancelled, its threads end by themselves.
#[derive(Debug)]
pub(super) struct Threads(Option<Runtime>);

impl Threads {
    pub(super) fn start() -> Result<Self, StartError> {
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("embedded-server")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
            .map_err(StartError::io("starting the threads of the embedded servers"))
    }

    /// Runs a future there and waits for it here.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StartError> {
        let Some(runtime) = &self.0 else { unreachable!("the runtime is only taken by drop") };
        runtime.spawn(future).await.map_err(|error| StartError::Io {
            doing: "starting an embedded server",
            source: std::io::Error::other(error),
        })
    }

    /// Leaves a server to run there.
    pub(super) fn leave(&self, server: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            drop(runtime.spawn(server));
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
