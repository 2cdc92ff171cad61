//! A request log with moods: it writes, refuses, loses, keeps silent or panics as the test wishes, and remembers all it saw.

use std::sync::{Arc, Mutex, OnceLock};

use futures_util::future::BoxFuture;
use local::system::WrapLog;
use shared::kafka::{Doubt, Message, Position, ProduceError, Refusal, RequestLog};
use tokio::sync::Semaphore;

/// What becomes of a message.
#[derive(Clone)]
pub enum Mood {
    /// It is written.
    Well,
    /// It is refused for certain.
    Definite,
    /// It is written, and nobody says so.
    InDoubtAndWritten,
    /// It is lost, and nobody says so.
    InDoubtAndLost,
    /// It waits until the gate has a permit, and then is refused for certain.
    RefusedBehind(Arc<Semaphore>),
    /// There is never an answer.
    Silent,
    /// The producing code is broken.
    Panic,
}

/// Chooses the mood for a message.
type Choose = dyn Fn(&Message) -> Mood + Send + Sync;

/// The log.
pub struct Moody {
    inner: OnceLock<Arc<dyn RequestLog>>,
    choose: Mutex<Arc<Choose>>,
    seen: Mutex<Vec<Message>>,
}

impl Moody {
    /// A log over a sound one.
    pub fn over(inner: Arc<dyn RequestLog>, choose: impl Fn(&Message) -> Mood + Send + Sync + 'static) -> Arc<Self> {
        let moody = Self::new();
        moody.set(choose);
        assert!(moody.inner.set(inner).is_ok());
        moody
    }

    /// A log that is well, for a system that does not exist yet: [`wrap`](Self::wrap) puts it around the system's own.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { inner: OnceLock::new(), choose: Mutex::new(Arc::new(|_| Mood::Well)), seen: Mutex::default() })
    }

    /// Puts this log around the API's.
    pub fn wrap(self: &Arc<Self>) -> WrapLog {
        let moody = Arc::clone(self);
        Box::new(move |inner| {
            assert!(moody.inner.set(inner).is_ok());
            moody
        })
    }

    /// Changes the mood.
    pub fn set(&self, choose: impl Fn(&Message) -> Mood + Send + Sync + 'static) {
        *self.choose.lock().unwrap() = Arc::new(choose);
    }

    /// Every message so far, whatever became of it.
    pub fn seen(&self) -> Vec<Message> {
        self.seen.lock().unwrap().clone()
    }

    /// Writes a message past every mood.
    pub async fn write(&self, message: Message) -> Position {
        self.inner().produce(message).await.unwrap()
    }

    fn inner(&self) -> &Arc<dyn RequestLog> {
        self.inner.get().unwrap()
    }
}

impl RequestLog for Moody {
    fn produce(&self, message: Message) -> BoxFuture<'_, Result<Position, ProduceError>> {
        self.seen.lock().unwrap().push(message.clone());
        let choose = Arc::clone(&self.choose.lock().unwrap());
        let mood = choose(&message);
        Box::pin(async move {
            match mood {
                Mood::Well => self.inner().produce(message).await,
                Mood::Definite => Err(ProduceError::definite(Refusal::NotConnected)),
                Mood::InDoubtAndWritten => {
                    self.inner().produce(message).await?;
                    Err(ProduceError::in_doubt(Doubt::NotAcknowledged))
                }
                Mood::InDoubtAndLost => Err(ProduceError::in_doubt(Doubt::Deadline)),
                Mood::RefusedBehind(gate) => {
                    gate.acquire().await.unwrap().forget();
                    Err(ProduceError::definite(Refusal::NoMetadata))
                }
                Mood::Silent => std::future::pending().await,
                Mood::Panic => panic!("broken, as the test wishes"),
            }
        })
    }
}
