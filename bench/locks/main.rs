//! The general lock beside the crate `rslock`, on Redis servers of this run's own: what a free lock costs, and what it costs
//! to hand one lock from waiter to waiter, in time and in commands as Redis itself counts them.
//!
//!     cargo run --release --locked --manifest-path bench/locks/Cargo.toml --target-dir target/locks [-- ROUNDS]
//!
//! Every contestant has its turn in every round, on the same servers, and its median round is told. Redis is asked with one
//! connection a server and client, as the functions ask it.

#![expect(clippy::unwrap_used, reason = "what a run cannot go on without ends it where it is missing")]

#[path = "../../tests/harness/redis.rs"]
mod redis;
#[path = "../../local/src/servers"]
#[allow(dead_code, unused_imports, reason = "the local system's servers, of which a run needs one")]
mod servers {
    pub mod child;
    pub mod error;
    pub mod port;
    pub mod redis;
}

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fred::clients::Client;
use futures_util::future::join_all;
use rslock::{LockGuard, LockManager};
use shared::lock::{Guard, Lock, Options, Released, Waiting};
use shared::redis::Redis;

/// Rounds, where nobody says otherwise.
const ROUNDS: usize = 5;
/// Takes and releases of a free lock, a round and contestant.
const UNCONTENDED: usize = 2_000;
/// Who wants one lock at the same time.
const WAITERS: usize = 64;
/// How often it goes from one to another, a round and contestant.
const HANDOVERS: usize = 1_280;
/// How long each keeps it: short, and long enough that waiting costs more than handing over.
const HOLD: Duration = Duration::from_millis(1);
/// A lease that nobody sees the end of.
const LEASE: Duration = Duration::from_secs(60);
/// Pauses between the looks of those who spin: drawn from nothing to this.
const SPIN: Duration = Duration::from_millis(20);
/// What `rslock` draws its pauses up to, where nobody says otherwise.
const RSLOCK_SPIN: Duration = Duration::from_millis(200);
/// Servers of a quorum.
const QUORUM: usize = 3;

/// One way to lock.
enum Contestant {
    Ours(Lock, Waiting),
    Rslock(LockManager),
}

/// A lock that is held.
enum Held {
    Ours(Guard),
    Rslock(LockGuard),
}

impl Contestant {
    async fn ours(urls: &[String], waiting: Waiting) -> Self {
        let mut servers = Vec::new();
        for url in urls {
            servers.push(Redis::connect(url, 1).await.unwrap());
        }
        Self::Ours(Lock::quorum(servers).unwrap(), waiting)
    }

    fn rslock(urls: &[String], pause: Duration) -> Self {
        let mut manager = LockManager::new(urls.to_vec());
        // It draws every pause from nothing to this.
        manager.set_retry(u32::MAX, pause);
        Self::Rslock(manager)
    }

    async fn take(&self, key: &str) -> Held {
        match self {
            Self::Ours(lock, waiting) => {
                let options = Options { waiting: *waiting, ..Options::new(LEASE, LEASE) };
                Held::Ours(lock.acquire_with(&[key.to_owned()], &options).await.unwrap())
            }
            Self::Rslock(manager) => Held::Rslock(manager.acquire(key, LEASE).await.unwrap()),
        }
    }
}

impl Held {
    async fn release(self) {
        match self {
            // A machine that is busy with other things may leave a release unanswered in its time; it is done all the same.
            Self::Ours(guard) => {
                let released = guard.release().await;
                assert!([Released::Released, Released::Unknown].contains(&released), "{released:?}");
            }
            Self::Rslock(guard) => guard.release().await,
        }
    }
}

/// What a contestant did in a round, or in its median one.
#[derive(Clone, Copy)]
struct Figures {
    uncontended_us: f64,
    handovers_a_second: f64,
    /// The time that one waiter in a hundred waits longer than.
    slow_wait_ms: f64,
    /// Sent by clients, on all servers.
    sent: f64,
    /// Run by the servers, those inside scripts too.
    run: f64,
    /// Time that Redis' one thread had to spend on them, on all servers.
    redis_us: f64,
}

/// What Redis has counted of one kind of command.
struct Counted {
    name: String,
    calls: f64,
    us: f64,
}

/// Everything a server has run since it was last told to forget, but for what this program asked it.
async fn counted(server: &Client) -> Vec<Counted> {
    let info: String = redis::command(server, &["INFO", "commandstats"]).await;
    let lines = info.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':'));
    let read = |(name, rest): (&str, &str)| {
        let number = |of: &str| rest.split(',').find_map(|part| part.strip_prefix(of)?.parse::<f64>().ok()).unwrap();
        Counted { name: name.to_owned(), calls: number("calls="), us: number("usec=") }
    };
    lines.map(read).filter(|counted| !["info", "config|resetstat"].contains(&counted.name.as_str())).collect()
}

async fn round(contestant: &Contestant, servers: &[Client], name: &str) -> Figures {
    let keys = [format!("bench:{{{name}}}:free"), format!("bench:{{{name}}}:wanted")];
    // Connections, scripts and ears are there before anything is measured.
    contestant.take(&keys[0]).await.release().await;
    let began = Instant::now();
    for _ in 0..UNCONTENDED {
        contestant.take(&keys[0]).await.release().await;
    }
    let uncontended_us = began.elapsed().as_secs_f64() * 1e6 / UNCONTENDED as f64;
    for server in servers {
        redis::command::<String>(server, &["CONFIG", "RESETSTAT"]).await;
    }
    let (left, inside, began) = (AtomicUsize::new(HANDOVERS), AtomicUsize::new(0), Instant::now());
    let waiters = (0..WAITERS).map(|_| async {
        let mut waits = Vec::new();
        while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            let asked = Instant::now();
            let held = contestant.take(&keys[1]).await;
            waits.push(asked.elapsed().as_secs_f64() * 1e3);
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two are inside");
            tokio::time::sleep(HOLD).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            held.release().await;
        }
        waits
    });
    let mut waits: Vec<f64> = join_all(waiters).await.concat();
    let took = began.elapsed().as_secs_f64();
    waits.sort_by(f64::total_cmp);
    let (mut sent, mut run, mut redis_us) = (0.0, 0.0, 0.0);
    for server in servers {
        for counted in counted(server).await {
            run += counted.calls;
            // `rslock` sends SET itself; ours stands in a script, as everything else does.
            let is_set_of_ours = counted.name == "set" && matches!(contestant, Contestant::Ours(..));
            if ["evalsha", "eval", "set", "subscribe", "script|load"].contains(&counted.name.as_str())
                && !is_set_of_ours
            {
                sent += counted.calls;
                redis_us += counted.us;
            }
        }
    }
    let handovers = HANDOVERS as f64;
    Figures {
        uncontended_us,
        handovers_a_second: handovers / took,
        slow_wait_ms: waits[waits.len() * 99 / 100],
        sent: sent / handovers,
        run: run / handovers,
        redis_us: redis_us / handovers,
    }
}

/// Each figure's median.
fn median(rounds: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Figures {
        uncontended_us: of(|figures| figures.uncontended_us),
        handovers_a_second: of(|figures| figures.handovers_a_second),
        slow_wait_ms: of(|figures| figures.slow_wait_ms),
        sent: of(|figures| figures.sent),
        run: of(|figures| figures.run),
        redis_us: of(|figures| figures.redis_us),
    }
}

#[tokio::main]
async fn main() {
    let rounds = std::env::args().nth(1).map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let started = join_all((0..QUORUM).map(|_| async { servers::redis::Redis::start().await.unwrap() })).await;
    let urls: Vec<String> = started.iter().map(servers::redis::Redis::url).collect();
    let clients = join_all(urls.iter().map(|url| redis::connect(url))).await;
    let (one, spin) = (&urls[..1], Waiting::Spin { pause: Duration::ZERO, jitter: SPIN });
    let contestants = [
        ("Bell, 1 server", 1, Contestant::ours(one, Waiting::Bell).await),
        ("Spin 0-20 ms, 1 server", 1, Contestant::ours(one, spin).await),
        ("rslock 0-20 ms, 1 server", 1, Contestant::rslock(one, SPIN)),
        ("rslock 0-200 ms, 1 server", 1, Contestant::rslock(one, RSLOCK_SPIN)),
        ("Redlock, Bell, 3 servers", QUORUM, Contestant::ours(&urls, Waiting::Bell).await),
        ("Redlock, Spin 0-20 ms, 3 servers", QUORUM, Contestant::ours(&urls, spin).await),
        ("rslock 0-20 ms, 3 servers", QUORUM, Contestant::rslock(&urls, SPIN)),
        ("rslock 0-200 ms, 3 servers", QUORUM, Contestant::rslock(&urls, RSLOCK_SPIN)),
    ];
    let mut figures = vec![Vec::new(); contestants.len()];
    for n in 0..rounds {
        for (at, (name, servers, contestant)) in contestants.iter().enumerate() {
            eprintln!("round {} of {rounds}: {name}", n + 1);
            figures[at].push(round(contestant, &clients[..*servers], &format!("{n}-{at}")).await);
        }
    }
    println!(
        "{UNCONTENDED} takes of a free lock, {HANDOVERS} handovers among {WAITERS} waiters with a hold of {HOLD:?}; medians of {rounds} rounds"
    );
    println!(
        "| lock | free: take + give back, µs | handovers a second | p99 wait, ms | commands sent a handover | commands run a handover | Redis' time a handover, µs |"
    );
    println!("|---|---|---|---|---|---|---|");
    for ((name, ..), rounds) in contestants.iter().zip(&figures) {
        let Figures { uncontended_us, handovers_a_second, slow_wait_ms, sent, run, redis_us } = median(rounds);
        println!(
            "| {name} | {uncontended_us:.0} | {handovers_a_second:.0} | {slow_wait_ms:.0} | {sent:.1} | {run:.1} | {redis_us:.0} |"
        );
    }
    for server in started {
        server.stop().await.unwrap();
    }
}
