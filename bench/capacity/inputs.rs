//! What the calculation starts from: what was measured here, what AWS says, what we assume. Each with where it is from.

/// A number with its origin.
pub struct Input {
    /// What it is, with its unit.
    pub what: &'static str,
    /// How much.
    pub value: f64,
    /// Where it is from; [`SOURCES`] has the pages by their number.
    pub from: &'static str,
}

const fn input(what: &'static str, value: f64, from: &'static str) -> Input {
    Input { what, value, from }
}

/// Pages the numbers below cite as `[n]`, by title and address. Read on [`READ_ON`].
pub const SOURCES: [(&str, &str); 14] = [
    ("Lambda quotas", "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"),
    ("Lambda scaling behavior", "https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html"),
    (
        "Apache Kafka event poller scaling modes in Lambda",
        "https://docs.aws.amazon.com/lambda/latest/dg/kafka-scaling-modes.html",
    ),
    ("Amazon API Gateway quotas", "https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"),
    ("Amazon MSK quota", "https://docs.aws.amazon.com/msk/latest/developerguide/limits.html"),
    ("Best practices for Standard brokers", "https://docs.aws.amazon.com/msk/latest/developerguide/bestpractices.html"),
    (
        "Understanding DynamoDB warm throughput in different scenarios",
        "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/warm-throughput-scenarios.html",
    ),
    (
        "Best Practices for Designing Amazon API Gateway Private APIs, Cost optimization",
        "https://docs.aws.amazon.com/whitepapers/latest/best-practices-api-gateway-private-apis-integration/cost-optimization.html",
    ),
    ("AWS Lambda Pricing", "https://aws.amazon.com/lambda/pricing/"),
    (
        "AWS Lambda Pricing Breakdown: Ultimate Guide 2024 (a third party)",
        "https://cloudchipr.com/blog/aws-lambda-pricing",
    ),
    (
        "Amazon DynamoDB Pricing: On-Demand & Provisioned Plans (a third party)",
        "https://airbyte.com/data-engineering-resources/dynamodb-pricing",
    ),
    (
        "AWS API Gateway Pricing Explained (a third party)",
        "https://awsforengineers.com/blog/aws-api-gateway-pricing-explained",
    ),
    ("Pricing for Provisioned Capacity", "https://aws.amazon.com/dynamodb/pricing/provisioned/"),
    ("Quotas in Amazon DynamoDB", "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Limits.html"),
];

/// When the pages were read, from stored copies.
pub const READ_ON: &str = "2026-11-25";

/// Prices that AWS' own pages show only by script were read in others' notes, which agree among themselves.
const NOTES: &str = "others' notes of AWS' price list, us-east-1; AWS' page was not to be read";

// ---- Measured here: `cargo bench --profile dev --bench redis_cost`, Redis 7.0.15 without TLS, on a shared AMD EPYC ----

const MEASURED: &str = "measured, bench/redis_cost.rs";

/// CPU of a claim that is refused because the seats are taken.
pub const REFUSED_US: Input = input("Redis CPU, refused claim, µs", 50.0, MEASURED);
/// CPU of a claim of one to four seats that is granted.
pub const GRANTED_US: Input = input("Redis CPU, granted claim of 1 to 4 seats, µs", 75.0, MEASURED);
/// CPU of an outcome written back.
pub const OUTCOME_US: Input = input("Redis CPU, outcome written back, µs", 45.0, MEASURED);
/// CPU of a look at a record.
pub const LOOK_US: Input = input("Redis CPU, look at a record, µs", 33.0, MEASURED);
/// CPU of a claim of the best seats that finds none of its 8 options free.
pub const BEST_US: Input = input("Redis CPU, best seats, none of 8 options free, µs", 100.0, MEASURED);
/// CPU of a claim of one place of a section of 5,000.
pub const PLACE_US: Input = input("Redis CPU, granted claim of a place, 5,000 in the section, µs", 70.0, MEASURED);
/// CPU of a map of 1,000 seats of which half are claimed, as everybody is shown it: from a count that Redis keeps for half a
/// second. Counting anew takes ten times as long, twice a second at most.
pub const MAP_US: Input = input("Redis CPU, map of 1,000 seats from a count that is kept, µs", 30.0, MEASURED);

// ---- Counted here -----------------------------------------------------------------------------------------------------

const COUNTED: &str = "counted on the embedded server, tests/persist/cost.rs; two units a KB in a transaction: [13]";

/// Write units of the table for the items of a hold that are not seats: reservation and count.
pub const HOLD_UNITS: Input = input("DynamoDB write units of a hold, without its seats", 4.0, COUNTED);
/// Write units of the table for a seat.
pub const SEAT_UNITS: Input = input("DynamoDB write units of a seat in a hold or a payment", 2.0, COUNTED);
/// Write units of the table for a payment's row.
pub const PAID_UNITS: Input =
    input("DynamoDB write units of a payment, without its seats", 2.0, "one item, shared/src/dynamodb/changes.rs");
/// Shards that an index spreads one event's reservations, or all that is due, over.
pub const SHARDS: Input = input("shards of the indexes by_event and due", 16.0, "SHARDS, shared/src/dynamodb/keys.rs");
/// Indexes that a hold or a payment writes one unit to.
pub const INDEXES: Input = input("indexes, of one write unit each for a hold and for a payment", 3.0, COUNTED);

// ---- AWS' limits --------------------------------------------------------------------------------------------------------

/// Requests a second of an environment.
pub const PER_ENVIRONMENT: Input =
    input("requests a second an environment is given, whatever it could do", 10.0, "[1]");
/// Environments a function gets within ten seconds.
pub const NEW_ENVIRONMENTS: Input = input("new environments of a function in 10 s", 1_000.0, "[2]");
/// Concurrency of an account.
pub const ACCOUNT_CONCURRENCY: Input =
    input("concurrent executions of an account and region, until asked", 1_000.0, "[1]");
/// Requests a second of an account.
pub const ACCOUNT_REQUESTS: Input =
    input("requests a second of all APIs of an account and region, until asked", 10_000.0, "[4]");
/// Connections with IAM of a broker.
pub const BROKER_CONNECTIONS: Input = input("IAM connections of a standard broker", 3_000.0, "[5]");
/// New connections with IAM of a broker.
pub const NEW_CONNECTIONS: Input = input("new IAM connections of a standard broker a second", 100.0, "[5]");
/// Partitions of a small broker.
pub const BROKER_PARTITIONS: Input = input("partitions of a kafka.m7g.large, replicas included", 1_000.0, "[6]");
/// Invocations a poller runs at once.
pub const POLLER_INVOCATIONS: Input = input("invocations of the consumer a poller runs at once", 5.0, "[3]");
/// Write units of a new table.
pub const NEW_TABLE_UNITS: Input = input("write units a second of a new table that nobody warmed", 4_000.0, "[7]");
/// Write units of a partition of the table or of an index.
pub const PARTITION_UNITS: Input = input("write units a second of one partition of a table or index", 1_000.0, "[7]");

// ---- What template.yaml and samconfig.toml say under prod -----------------------------------------------------------------

/// Most environments of the API.
pub const CONCURRENCY: Input =
    input("environments of the API", 500.0, "ReservationApiConcurrency, samconfig.toml, prod");
/// Requests to reserve a second.
pub const RESERVE_THROTTLE: Input =
    input("requests to reserve a second", 2_000.0, "ReservationsPerSecond, samconfig.toml, prod");
/// Partitions of the requests.
pub const PARTITIONS: Input =
    input("partitions of reservation-requests", 60.0, "RequestPartitions, samconfig.toml, prod");
/// Write units of the warmed table.
pub const WARM_UNITS: Input =
    input("write units a second of the table, warmed", 20_000.0, "WarmWriteUnits, samconfig.toml, prod");
/// Pollers of the event source.
pub const POLLERS: Input = input("pollers at most", 12.0, "MaximumPollers, template.yaml");

// ---- Assumed ----------------------------------------------------------------------------------------------------------------

const ASSUMED: &str = "assumed";

/// How much more than on average comes in the busiest second.
pub const PEAK: Input = input("busiest second, times the average", 3.0, ASSUMED);
/// Share of requests that reserve; the others look.
pub const CLAIMS_SHARE: Input = input("share of requests that reserve", 0.6, ASSUMED);
/// Share of requests that read a map or counts from Redis.
pub const MAPS_SHARE: Input = input("share of requests that read a section's map", 0.2, ASSUMED);
/// Share of claims that are granted while there is something to sell.
pub const GRANTED_SHARE: Input = input("share of claims granted until all is sold", 0.5, ASSUMED);
/// Seats of a reservation.
pub const SEATS_EACH: Input = input("seats of a reservation", 2.0, ASSUMED);
/// How busy Redis' thread may be for its answers to stay within their 250 ms.
pub const REDIS_BUSY: Input = input("how busy Redis' one thread may be", 0.7, ASSUMED);
/// Duration of a request, in seconds.
pub const REQUEST_S: Input = input("duration of a request, s", 0.02, "assumed; refused ones are one Redis command");
/// Messages an invocation of the consumer handles side by side.
pub const SIDE_BY_SIDE: Input =
    input("messages a consumer handles side by side", 16.0, "AT_ONCE, functions/reservation-persist/src/batch.rs");
/// Duration of a message in the consumer, in seconds.
pub const MESSAGE_S: Input =
    input("duration of a message in the consumer, s", 0.03, "assumed: transaction, outcome, truth");
/// Messages of an invocation.
pub const BATCH: Input = input("messages of an invocation", 100.0, "BatchSize, template.yaml");
/// Bytes that a request leaves in the logs.
pub const LOG_BYTES: Input =
    input("bytes of logs a request leaves", 1_500.0, "assumed: access log, Lambda's start and report, metrics");
/// Bytes of an answer.
pub const ANSWER_BYTES: Input = input("bytes of an answer", 1_000.0, ASSUMED);

// ---- Prices, in dollars --------------------------------------------------------------------------------------------------------

/// A million requests to the HTTP API.
pub const HTTP_API: Input = input("a million requests to an HTTP API, the first 300 million of a month, $", 1.0, "[8]");
/// A million requests to the HTTP API beyond 300 million.
pub const HTTP_API_MORE: Input = input("a million requests beyond, $", 0.9, "[8]");
/// A million invocations.
pub const INVOCATIONS: Input = input("a million invocations, $", 0.2, "[9]");
/// A GB-second on arm64.
pub const GB_SECOND: Input = input("a GB-second, arm64, $", 0.000_013_333_4, "[10]");
/// A GB-second of provisioned concurrency on arm64.
pub const PROVISIONED: Input = input("a GB-second of provisioned concurrency, arm64, $", 0.000_003_333_4, NOTES);
/// A million write units.
pub const WRITE_UNITS: Input = input("a million write units, on demand, $", 0.625, "[11]");
/// A broker's hour.
pub const BROKER_HOUR: Input = input("an hour of a kafka.m7g.large, $", 0.204, NOTES);
/// A gigabyte of broker storage for a month.
pub const BROKER_STORAGE: Input = input("a GB-month of a broker's volume, $", 0.1, NOTES);
/// A poller unit's hour.
pub const POLLER_HOUR: Input = input("an hour of an event poller unit, $", 0.185, NOTES);
/// A cache node's hour.
pub const CACHE_HOUR: Input = input(
    "an hour of a cache.r7g.large with Valkey, $",
    0.194_4,
    "one third party's estimate, probably of eu-west-1; AWS' page was not to be read",
);
/// A gigabyte of logs.
pub const LOG_GB: Input = input("a GB of logs taken in, $", 0.5, NOTES);
/// A gigabyte to the internet.
pub const OUT_GB: Input = input("a GB to the internet, $", 0.09, "[12]");

/// All of them, in the order of the document.
pub const ALL: [&[&Input]; 5] = [
    &[
        &REFUSED_US,
        &GRANTED_US,
        &OUTCOME_US,
        &LOOK_US,
        &BEST_US,
        &PLACE_US,
        &MAP_US,
        &HOLD_UNITS,
        &SEAT_UNITS,
        &PAID_UNITS,
        &INDEXES,
        &SHARDS,
    ],
    &[
        &PER_ENVIRONMENT,
        &NEW_ENVIRONMENTS,
        &ACCOUNT_CONCURRENCY,
        &ACCOUNT_REQUESTS,
        &BROKER_CONNECTIONS,
        &NEW_CONNECTIONS,
        &BROKER_PARTITIONS,
        &POLLER_INVOCATIONS,
        &NEW_TABLE_UNITS,
        &PARTITION_UNITS,
    ],
    &[&CONCURRENCY, &RESERVE_THROTTLE, &PARTITIONS, &WARM_UNITS, &POLLERS, &BATCH, &SIDE_BY_SIDE],
    &[
        &PEAK,
        &CLAIMS_SHARE,
        &MAPS_SHARE,
        &GRANTED_SHARE,
        &SEATS_EACH,
        &REDIS_BUSY,
        &REQUEST_S,
        &MESSAGE_S,
        &LOG_BYTES,
        &ANSWER_BYTES,
    ],
    &[
        &HTTP_API,
        &HTTP_API_MORE,
        &INVOCATIONS,
        &GB_SECOND,
        &PROVISIONED,
        &WRITE_UNITS,
        &BROKER_HOUR,
        &BROKER_STORAGE,
        &POLLER_HOUR,
        &CACHE_HOUR,
        &LOG_GB,
        &OUT_GB,
    ],
];
