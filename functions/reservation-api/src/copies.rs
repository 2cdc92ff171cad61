//! Copies of what others keep, for a second or so: a crowd that looks at the same thing causes one read. Who asks first begins
//! it, and whoever comes meanwhile waits for the same one, for a bounded time. It is driven by all who wait for it, so
//! that nobody is left behind when one of them goes, and it ends when the last of them does: a read that a frozen process
//! left half way is not taken up again. Errors reach those who waited, and are kept for nobody.
//!
//! One read may bring several things, as one command of Redis brings several sections.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared, join_all};

use crate::moment::Moment;

/// How old a copy may be that is answered with: with what Redis kept for others, counted from when that was read.
pub const RECENT: Duration = Duration::from_secs(1);
/// How long anybody waits for a read that somebody else has begun.
pub const WAIT_FOR_OTHERS: Duration = Duration::from_millis(250);
/// How often somebody who waits for another process' read looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long who begins a read waits for it: the loading of a cold section and the questions around it.
pub const WAIT_FOR_OWN: Duration = Duration::from_millis(6_500);

/// Looks for what another process reads until it is there, and no longer than anybody waits for another; what the last look
/// has found.
pub async fn wait_while<T, F: Future<Output = T>>(is_being_read: impl Fn(&T) -> bool, look: impl Fn() -> F) -> T {
    let began = Moment::now();
    loop {
        let found = look().await;
        if !is_being_read(&found) || began.age_at(Moment::now()) >= WAIT_FOR_OTHERS {
            return found;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Why there is no copy.
#[derive(Debug)]
pub enum Missed<E> {
    /// The read that was waited for was not done in time.
    TooLate,
    /// It failed.
    Failed(Arc<E>),
}

/// Something, and when it was so.
pub struct Copy<V> {
    /// What was read.
    pub value: Arc<V>,
    /// When it was so, at the latest.
    pub at: Moment,
}

impl<V> Clone for Copy<V> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), at: self.at }
    }
}

type Landed<V, E> = Result<Arc<Vec<Copy<V>>>, Arc<E>>;
type Flight<V, E> = Shared<BoxFuture<'static, Landed<V, E>>>;
type WeakFlight<V, E> = WeakShared<BoxFuture<'static, Landed<V, E>>>;

/// What is kept under a key, and the read that is under way, with the place in what it brings.
struct Slot<V, E> {
    copy: Option<Copy<V>>,
    flight: Option<(WeakFlight<V, E>, usize)>,
}

impl<V, E> Slot<V, E> {
    fn recent(&self, now: Moment, good_for: Duration) -> Option<&Copy<V>> {
        self.copy.as_ref().filter(|copy| copy.at.age_at(now) <= good_for)
    }

    fn under_way(&self) -> Option<(Flight<V, E>, usize)> {
        let (flight, place) = self.flight.as_ref()?;
        // One that has landed and left no copy has failed: the next one asks anew.
        Some((flight.upgrade().filter(|flight| flight.peek().is_none())?, *place))
    }
}

/// Where a value comes from.
enum Source<V, E> {
    Here(Copy<V>),
    Flight { flight: Flight<V, E>, place: usize, patience: Duration },
}

impl<V, E> Source<V, E> {
    async fn bring(self) -> Result<Copy<V>, Missed<E>> {
        match self {
            Self::Here(copy) => Ok(copy),
            Self::Flight { flight, place, patience } => match tokio::time::timeout(patience, flight).await {
                Err(_) => Err(Missed::TooLate),
                Ok(Err(error)) => Err(Missed::Failed(error)),
                Ok(Ok(landed)) => landed.get(place).cloned().ok_or(Missed::TooLate),
            },
        }
    }
}

type Slots<K, V, E> = HashMap<K, Slot<V, E>>;

/// Copies by key. Cheap to clone; clones are the same copies.
pub struct Copies<K, V, E> {
    slots: Arc<Mutex<Slots<K, V, E>>>,
    at_most: usize,
    good_for: Duration,
}

impl<K, V, E> Clone for Copies<K, V, E> {
    fn clone(&self) -> Self {
        Self { slots: Arc::clone(&self.slots), at_most: self.at_most, good_for: self.good_for }
    }
}

impl<K, V, E> Copies<K, V, E>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// No copies yet. Of more than `at_most` keys within [`RECENT`] some are read by everybody who asks.
    pub fn new(at_most: usize) -> Self {
        Self::good_for(RECENT, at_most)
    }

    /// The same for copies that may be older.
    pub fn good_for(good_for: Duration, at_most: usize) -> Self {
        Self { slots: Arc::default(), at_most, good_for }
    }

    /// A copy for each of the keys. What nobody has is read by `read`, `together` keys at a time, which answers with a
    /// value for each of its keys, in order, and the moment at which they were so.
    ///
    /// # Errors
    /// When a read fails, or is not done within [`WAIT_FOR_OWN`], or [`WAIT_FOR_OTHERS`] where somebody else began it.
    pub async fn get<F>(
        &self,
        keys: &[K],
        together: usize,
        read: impl Fn(Vec<K>) -> F,
    ) -> Result<Vec<Copy<V>>, Missed<E>>
    where
        F: Future<Output = Result<(Vec<V>, Moment), E>> + Send + 'static,
    {
        let sources = self.sources(keys, together, read);
        join_all(sources.into_iter().map(Source::bring)).await.into_iter().collect()
    }

    /// Keeps what was read, where there is room.
    pub fn keep(&self, key: &K, copy: &Copy<V>) {
        let mut slots = self.slots();
        if let Some(slot) = self.slot(&mut slots, key) {
            slot.copy = Some(copy.clone());
        }
    }

    fn sources<F>(&self, keys: &[K], together: usize, read: impl Fn(Vec<K>) -> F) -> Vec<Source<V, E>>
    where
        F: Future<Output = Result<(Vec<V>, Moment), E>> + Send + 'static,
    {
        let now = Moment::now();
        let mut slots = self.slots();
        let known = |key: &K| {
            let slot = slots.get(key)?;
            let here = slot.recent(now, self.good_for).cloned().map(Source::Here);
            here.or_else(|| {
                let (flight, place) = slot.under_way()?;
                Some(Source::Flight { flight, place, patience: WAIT_FOR_OTHERS })
            })
        };
        let mut sources: Vec<Option<Source<V, E>>> = keys.iter().map(known).collect();
        let missing: Vec<usize> = (0..keys.len()).filter(|at| sources[*at].is_none()).collect();
        for chunk in missing.chunks(together.max(1)) {
            let keys: Vec<K> = chunk.iter().map(|at| keys[*at].clone()).collect();
            let flight = self.flight(keys.clone(), read(keys.clone()));
            for ((place, key), at) in keys.iter().enumerate().zip(chunk) {
                if let Some(slot) = self.slot(&mut slots, key) {
                    slot.flight = flight.downgrade().map(|flight| (flight, place));
                }
                sources[*at] = Some(Source::Flight { flight: flight.clone(), place, patience: WAIT_FOR_OWN });
            }
        }
        sources.into_iter().flatten().collect()
    }

    fn flight<F>(&self, keys: Vec<K>, read: F) -> Flight<V, E>
    where
        F: Future<Output = Result<(Vec<V>, Moment), E>> + Send + 'static,
    {
        let copies = self.clone();
        let landing = async move {
            let (values, at) = read.await.map_err(Arc::new)?;
            let landed: Vec<Copy<V>> = values.into_iter().map(|value| Copy { value: Arc::new(value), at }).collect();
            for (key, copy) in keys.iter().zip(&landed) {
                copies.keep(key, copy);
            }
            Ok(Arc::new(landed))
        };
        landing.boxed().shared()
    }

    /// The slot of a key, where it has one or there is room for it once what is out of date has gone.
    fn slot<'a>(&self, slots: &'a mut Slots<K, V, E>, key: &K) -> Option<&'a mut Slot<V, E>> {
        if !slots.contains_key(key) && slots.len() >= self.at_most {
            let now = Moment::now();
            slots.retain(|_, slot| slot.recent(now, self.good_for).is_some() || slot.under_way().is_some());
            if slots.len() >= self.at_most {
                return None;
            }
        }
        Some(slots.entry(key.clone()).or_insert(Slot { copy: None, flight: None }))
    }

    fn slots(&self) -> MutexGuard<'_, Slots<K, V, E>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    type Numbers = Copies<u32, u32, String>;

    /// Reads that wait at a gate, and are counted.
    #[derive(Clone)]
    struct Source {
        gate: Arc<Semaphore>,
        reads: Arc<AtomicUsize>,
    }

    impl Source {
        fn new(open: usize) -> Self {
            Self { gate: Arc::new(Semaphore::new(open)), reads: Arc::default() }
        }

        fn reads(&self) -> usize {
            self.reads.load(Ordering::SeqCst)
        }

        /// Each key doubled; 13 cannot be read.
        fn read(&self, keys: Vec<u32>) -> impl Future<Output = Result<(Vec<u32>, Moment), String>> + use<> {
            let Self { gate, reads } = self.clone();
            reads.fetch_add(1, Ordering::SeqCst);
            async move {
                gate.acquire().await.unwrap().forget();
                if keys.contains(&13) {
                    Err("13".into())
                } else {
                    Ok((keys.iter().map(|key| key * 2).collect(), Moment::now()))
                }
            }
        }
    }

    async fn get(copies: &Numbers, source: &Source, keys: &[u32]) -> Result<Vec<u32>, Missed<String>> {
        let copies = copies.get(keys, 2, |keys| source.read(keys)).await?;
        Ok(copies.iter().map(|copy| *copy.value).collect())
    }

    #[tokio::test]
    async fn a_crowd_reads_once_and_a_second_long_nobody_again() {
        let (copies, source) = (Numbers::new(10), Source::new(0));
        let crowd = (0..100).map(|_| get(&copies, &source, &[1, 2, 3]));
        let (all, ()) = tokio::join!(join_all(crowd), async { source.gate.add_permits(100) });
        assert!(all.iter().all(|answer| answer.as_deref().unwrap() == [2, 4, 6]));
        // Three keys, two at a time.
        assert_eq!(source.reads(), 2);
        assert_eq!(get(&copies, &source, &[3, 1]).await.unwrap(), [6, 2]);
        assert_eq!(source.reads(), 2);
        let old = Moment::now().earlier_by(RECENT + Duration::from_millis(1));
        copies.keep(&1, &Copy { value: Arc::new(0), at: old });
        assert_eq!(get(&copies, &source, &[3, 1]).await.unwrap(), [6, 2]);
        assert_eq!(source.reads(), 3);
    }

    #[tokio::test]
    async fn a_failure_reaches_all_who_waited_and_is_kept_for_nobody() {
        let (copies, source) = (Numbers::new(10), Source::new(0));
        let crowd = (0..10).map(|_| get(&copies, &source, &[13]));
        let (all, ()) = tokio::join!(join_all(crowd), async { source.gate.add_permits(100) });
        assert!(all.iter().all(|answer| matches!(answer, Err(Missed::Failed(error)) if **error == "13")));
        assert_eq!(source.reads(), 1);
        assert!(get(&copies, &source, &[13]).await.is_err());
        assert_eq!(source.reads(), 2);
    }

    #[tokio::test]
    async fn who_began_a_read_and_goes_strands_nobody() {
        let (copies, source) = (Numbers::new(10), Source::new(0));
        let mut first = Box::pin(get(&copies, &source, &[1]));
        assert!((&mut first).now_or_never().is_none());
        let mut second = Box::pin(get(&copies, &source, &[1]));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        source.gate.add_permits(1);
        assert_eq!(second.await.unwrap(), [2]);
        assert_eq!(source.reads(), 1);
    }

    #[tokio::test]
    async fn a_read_that_everybody_left_is_not_taken_up_again() {
        let (copies, source) = (Numbers::new(10), Source::new(0));
        let mut only = Box::pin(get(&copies, &source, &[1]));
        assert!((&mut only).now_or_never().is_none());
        drop(only);
        source.gate.add_permits(2);
        assert_eq!(get(&copies, &source, &[1]).await.unwrap(), [2]);
        assert_eq!(source.reads(), 2);
    }

    #[tokio::test]
    async fn who_comes_later_waits_no_longer_than_he_has_to_and_who_began_goes_on() {
        let (copies, source) = (Numbers::new(10), Source::new(0));
        let own = get(&copies, &source, &[1]);
        let others = async {
            let began = std::time::Instant::now();
            let all = join_all((0..100).map(|_| get(&copies, &source, &[1]))).await;
            assert!(all.iter().all(|answer| matches!(answer, Err(Missed::TooLate))));
            assert!(began.elapsed() >= WAIT_FOR_OTHERS);
            source.gate.add_permits(1);
        };
        let (own, ()) = tokio::join!(own, others);
        assert_eq!(own.unwrap(), [2]);
        assert_eq!(source.reads(), 1);
    }

    #[tokio::test]
    async fn no_more_is_kept_than_there_is_room_for() {
        let (copies, source) = (Numbers::new(3), Source::new(100));
        for key in 20..30 {
            assert_eq!(get(&copies, &source, &[key]).await.unwrap(), [key * 2]);
        }
        assert_eq!(copies.slots().len(), 3);
        copies.slots().values_mut().for_each(|slot| slot.copy = None);
        assert_eq!(get(&copies, &source, &[40]).await.unwrap(), [80]);
        assert_eq!(copies.slots().len(), 1);
    }
}
