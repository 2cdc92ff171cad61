//! What an on-sale needs of each part, which limit it meets first, and what it costs: arithmetic on [`inputs`], no more.
//! [`tables`] writes it down for docs/CAPACITY.md.

pub mod inputs;
pub mod tables;

use inputs as is;

/// An on-sale.
#[derive(Debug, Clone, Copy)]
pub struct Sale {
    /// How the document calls it.
    pub name: &'static str,
    /// All requests.
    pub requests: f64,
    /// Over so many minutes.
    pub minutes: f64,
    /// Seats for sale, in all events together.
    pub seats: f64,
    /// Events, of which each has a slot of its own.
    pub events: f64,
}

/// The sizes of the document: one house, ten, a hundred and a thousand times its requests, and the largest day known.
pub const SALES: [Sale; 5] = [
    Sale { name: "1×", requests: 1e5, minutes: 10.0, seats: 2_000.0, events: 1.0 },
    Sale { name: "10×", requests: 1e6, minutes: 10.0, seats: 20_000.0, events: 1.0 },
    Sale { name: "100×", requests: 1e7, minutes: 10.0, seats: 60_000.0, events: 1.0 },
    Sale { name: "1,000×", requests: 1e8, minutes: 10.0, seats: 600_000.0, events: 10.0 },
    Sale { name: "the day", requests: 3.5e9, minutes: 1_440.0, seats: 2_000_000.0, events: 50.0 },
];

/// What a sale needs in its busiest second.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// Requests a second.
    pub requests: f64,
    /// Requests to reserve a second.
    pub claims: f64,
    /// Claims granted a second, and so messages, while there is something to sell.
    pub granted: f64,
    /// Seconds until everything is held, at that rate.
    pub sold_out_s: f64,
    /// Environments of the API.
    pub environments: f64,
    /// Environments that would do if AWS gave an environment as many requests as it can serve.
    pub busy_environments: f64,
    /// Seconds until Lambda has made them, from none.
    pub environments_s: f64,
    /// Seconds until each has its connection to a broker.
    pub connections_s: f64,
    /// Invocations of the consumer at a time, and so partitions at least.
    pub consumers: f64,
    /// Share of one core that the slot of one event takes, if all are asked for alike.
    pub redis: f64,
    /// The same without maps.
    pub redis_without_maps: f64,
    /// Write units a second of the table.
    pub write_units: f64,
}

/// Messages a second that one invocation of the consumer after the other handles.
pub fn messages_per_consumer() -> f64 {
    let rounds = (is::BATCH.value / is::SIDE_BY_SIDE.value).ceil();
    is::BATCH.value / (rounds * is::MESSAGE_S.value)
}

/// Write units of a hold of so many seats: of the table, and of all indexes.
pub fn hold_units(seats: f64) -> (f64, f64) {
    (is::HOLD_UNITS.value + seats * is::SEAT_UNITS.value, is::INDEXES.value)
}

/// Write units of its payment: of the table, and of all indexes.
pub fn paid_units(seats: f64) -> (f64, f64) {
    (is::PAID_UNITS.value + seats * is::SEAT_UNITS.value, is::INDEXES.value)
}

impl Sale {
    /// Reservations that the seats make.
    pub fn reservations(&self) -> f64 {
        self.seats / is::SEATS_EACH.value
    }

    /// What it needs.
    pub fn need(&self) -> Need {
        let requests = self.requests / (self.minutes * 60.0) * is::PEAK.value;
        let claims = requests * is::CLAIMS_SHARE.value;
        let maps = requests * is::MAPS_SHARE.value;
        let looks = requests - claims - maps;
        // No more than there is.
        let granted = (claims * is::GRANTED_SHARE.value).min(self.reservations());
        let busy_environments = (requests * is::REQUEST_S.value).ceil();
        let environments = busy_environments.max((requests / is::PER_ENVIRONMENT.value).ceil());
        let decided_us = (claims - granted) * is::REFUSED_US.value
            + granted * (is::GRANTED_US.value + is::OUTCOME_US.value)
            + looks * is::LOOK_US.value;
        Need {
            requests,
            claims,
            granted,
            sold_out_s: self.reservations() / granted,
            environments,
            busy_environments,
            environments_s: environments / is::NEW_ENVIRONMENTS.value * 10.0,
            connections_s: environments / is::NEW_CONNECTIONS.value,
            consumers: (granted / messages_per_consumer()).ceil(),
            redis: (decided_us + maps * is::MAP_US.value) / 1e6 / self.events,
            redis_without_maps: decided_us / 1e6 / self.events,
            write_units: granted * hold_units(is::SEATS_EACH.value).0,
        }
    }
}

/// A limit that a sale may meet.
pub struct Limit {
    /// What is limited.
    pub what: &'static str,
    /// As samconfig.toml deploys under prod.
    pub deployed: f64,
    /// Where AWS stands until it is asked, or for good.
    pub aws: f64,
    /// Whether a parameter or AWS raises it as far as one likes.
    pub raised: bool,
    /// What lifts it.
    pub lifted: &'static str,
    /// How much of it a sale needs.
    pub needs: fn(&Need) -> f64,
}

/// All limits, in the order of a request's way.
pub fn limits() -> [Limit; 8] {
    let sharded = is::SHARDS.value * is::PARTITION_UNITS.value;
    [
        Limit {
            what: "requests a second at API Gateway",
            deployed: is::ACCOUNT_REQUESTS.value,
            aws: is::ACCOUNT_REQUESTS.value,
            raised: true,
            lifted: "AWS, when asked",
            needs: |need| need.requests,
        },
        Limit {
            what: "requests to reserve a second",
            deployed: is::RESERVE_THROTTLE.value,
            aws: is::ACCOUNT_REQUESTS.value,
            raised: true,
            lifted: "`ReservationsPerSecond`, and AWS",
            needs: |need| need.claims,
        },
        Limit {
            what: "environments, ten requests a second each",
            deployed: is::CONCURRENCY.value,
            aws: is::ACCOUNT_CONCURRENCY.value,
            raised: true,
            lifted: "`ReservationApiConcurrency`, and AWS",
            needs: |need| need.environments,
        },
        Limit {
            what: "IAM connections of each broker",
            deployed: is::BROKER_CONNECTIONS.value,
            aws: is::BROKER_CONNECTIONS.value,
            raised: false,
            lifted: "fewer environments; not more brokers",
            needs: |need| need.environments + need.consumers,
        },
        Limit {
            what: "one core of Redis, an event's slot",
            deployed: is::REDIS_BUSY.value,
            aws: is::REDIS_BUSY.value,
            raised: false,
            lifted: "see below",
            needs: |need| need.redis,
        },
        Limit {
            what: "partitions and consumers",
            deployed: is::PARTITIONS.value.min(is::POLLERS.value * is::POLLER_INVOCATIONS.value),
            aws: is::BROKER_PARTITIONS.value,
            raised: true,
            lifted: "`RequestPartitions` before the first sale, and `MaximumPollers`",
            needs: |need| need.consumers,
        },
        Limit {
            what: "write units a second of the table",
            deployed: is::WARM_UNITS.value,
            aws: is::NEW_TABLE_UNITS.value,
            raised: true,
            lifted: "`WarmWriteUnits`; then AWS",
            needs: |need| need.write_units,
        },
        Limit {
            what: "holds a second in the index `due`",
            deployed: sharded,
            aws: sharded,
            raised: false,
            lifted: "more `SHARDS`, a change of the code",
            needs: |need| need.granted,
        },
    ]
}

/// Which limit a sale meets first, and how many times over it is.
pub fn first_to_break(need: &Need, limits: &[Limit], bound: fn(&Limit) -> f64) -> (&'static str, f64) {
    let times = |limit: &Limit| (limit.needs)(need) / bound(limit);
    let first = limits.iter().max_by(|one, other| times(one).total_cmp(&times(other)));
    first.map_or(("nothing", 0.0), |limit| (limit.what, times(limit)))
}

/// What a hundred thousand reservations cost.
pub struct Bill {
    /// Requests a reservation takes, refused ones and looks among them.
    pub requests_each: f64,
    /// How long the sale lasts, in minutes.
    pub minutes: f64,
}

/// Reservations of a [`Bill`].
pub const BILLED: f64 = 100_000.0;

impl Bill {
    /// All requests.
    pub fn requests(&self) -> f64 {
        self.requests_each * BILLED
    }

    /// Its lines, in dollars. Servers stand for a day; every reservation is paid for.
    pub fn lines(&self) -> [(&'static str, f64); 8] {
        let (requests, seats) = (self.requests(), is::SEATS_EACH.value);
        let millions = requests / 1e6;
        let sale = Sale { name: "", requests, minutes: self.minutes, seats: seats * BILLED, events: 1.0 };
        let (hours, days) = ((self.minutes / 60.0).max(24.0), (self.minutes / 1_440.0).max(1.0));
        let consumed_s = BILLED / messages_per_consumer();
        let provisioned_gb_s = sale.need().environments * 0.5 * self.minutes * 60.0;
        let (hold, paid) = (hold_units(seats), paid_units(seats));
        [
            (
                "API Gateway",
                millions.min(300.0) * is::HTTP_API.value + (millions - 300.0).max(0.0) * is::HTTP_API_MORE.value,
            ),
            (
                "Lambda, invocations and time",
                (millions + BILLED / is::BATCH.value / 1e6) * is::INVOCATIONS.value
                    + (requests * is::REQUEST_S.value * 0.5 + consumed_s) * is::GB_SECOND.value,
            ),
            ("Lambda, environments standing ready", provisioned_gb_s * is::PROVISIONED.value),
            (
                "DynamoDB, holds and payments",
                BILLED * (hold.0 + hold.1 + paid.0 + paid.1) / 1e6 * is::WRITE_UNITS.value,
            ),
            ("Kafka, three brokers of 100 GB and two pollers", {
                let pollers = 2.0 * hours * is::POLLER_HOUR.value;
                3.0 * (hours * is::BROKER_HOUR.value + 100.0 * is::BROKER_STORAGE.value * days / 30.0) + pollers
            }),
            ("Redis, two nodes", 2.0 * hours * is::CACHE_HOUR.value),
            ("logs", requests * is::LOG_BYTES.value / 1e9 * is::LOG_GB.value),
            ("answers to the internet", requests * is::ANSWER_BYTES.value / 1e9 * is::OUT_GB.value),
        ]
    }
}
