//! API Gateway's HTTP API on a socket, in front of the function's own router.
//!
//! Each request is authenticated as the JWT authorizer does it, turned into the JSON that the function would get, parsed
//! by lambda_http's own parser, and handed to the router as `lambda_http::run` does. What API Gateway answers by itself
//! (401, 403, 404, 413, 503 and the preflight) is answered here, as `{"message"}`. Throttling (429) is not emulated.
//!
//! # Layout
//! - `routes`: the route table
//! - `event`: the JSON of payload format 2.0

mod answer;
mod event;
mod invoke;
mod routes;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time,
};

use self::invoke::Function;
pub use self::routes::{Auth, ROUTES, Route};

/// The most connections served at once; the next wait in the listener's backlog. An on-sale here is 2,000 customers.
const MAX_CONNECTIONS: usize = 4_096;

/// The most of a connection's input that is held before it is understood, in bytes; some more than the longest head, so
/// that a longer one is still answered.
const READ_BUFFER: usize = 64 * 1_024;

/// The most header fields.
const MAX_HEADERS: usize = 100;

/// The longest a client may take to send its headers, and to send nothing on a connection that it keeps.
const HEAD_WITHIN: Duration = Duration::from_secs(75);

/// The longest that requests in flight may take when the gateway stops.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// How long accepting pauses after the operating system refused, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running gateway. Dropping it cuts its connections; [`Gateway::stop`] lets them finish.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    stopping: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Gateway {
    /// Serves `router` on `listener`. `jwt_key` is the HS256 key of the tokens, the characters themselves.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(listener: TcpListener, jwt_key: String, router: Router) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stopping, stopped) = watch::channel(false);
        let function = Arc::new(Function::new(jwt_key, router));
        Ok(Self { address, stopping, accepting: tokio::spawn(accept(listener, function, stopped)) })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, lets those in flight finish for at most five seconds, and closes every connection.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        if time::timeout(STOPS_WITHIN, &mut self.accepting).await.is_err() {
            tracing::warn!("requests were still in flight when the gateway stopped");
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Accepts until told to stop, then waits for the connections. Aborting it aborts them.
async fn accept(listener: TcpListener, function: Arc<Function>, mut stopped: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        tokio::select! {
            () = told_to(&mut stopped) => break,
            Some(_) = connections.join_next() => {}
            (slot, accepted) = next => match accepted {
                Ok((stream, client)) => {
                    let (function, stopped) = (Arc::clone(&function), stopped.clone());
                    connections.spawn(async move {
                        serve(stream, client.ip(), function, stopped).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Resolves when the gateway stops, or is gone.
async fn told_to(stopped: &mut watch::Receiver<bool>) {
    while !*stopped.borrow_and_update() {
        if stopped.changed().await.is_err() {
            return;
        }
    }
}

/// One connection, with as many requests as the client likes to send over it.
async fn serve(stream: TcpStream, client: IpAddr, function: Arc<Function>, mut stopped: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let service = service_fn(move |request| {
        let function = Arc::clone(&function);
        async move { function.answer(request, client).await }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(READ_BUFFER)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told_to(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
