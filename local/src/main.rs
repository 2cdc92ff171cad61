//! The local system's commands: `serve`, `token`, `rush`, `redrive`, `job`, `openapi`.

mod serve;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use local::client::ApiClient;
use local::config::of_functions;
use local::rush::{self, RushSettings};
use local::servers::ServerSet;
use local::system::{System, token};
use local::{job, redrive};
use scheduled_jobs::redrive::order::{Action, Asked, EntryId, Topic};
use shared::domain::document::MIN_HOLD_SECONDS;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// The ticket office on this machine: every server and function, and what stands in for API Gateway and the event source.
#[derive(Parser)]
#[command(name = "local")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the whole system and serve its HTTP API until Ctrl-C.
    Serve {
        /// Which servers: in this process, or Apache Kafka and DynamoDB Local.
        #[arg(long, value_enum, default_value_t = Set::Embedded)]
        servers: Set,
        /// Port of the HTTP API on 127.0.0.1; 0 = any free one.
        #[arg(long, default_value_t = 9000)]
        port: u16,
        /// Write the functions' environment here once everything answers.
        #[arg(long)]
        env_file: Option<PathBuf>,
        /// Publish this event document; its id is the file's name. May be given several times.
        #[arg(long)]
        event: Vec<PathBuf>,
    },
    /// Print a token for the local API.
    Token {
        /// Who it is for.
        #[arg(long)]
        customer: String,
        /// What it allows, such as tickets/admin or tickets/payments.
        #[arg(long)]
        scope: Vec<String>,
    },
    /// Print the API's description (OpenAPI), as a deployed system serves it.
    Openapi,
    /// Hold an on-sale through the HTTP API, and check the books.
    Rush {
        /// How many customers want seats.
        #[arg(long, default_value_t = 2_000)]
        customers: usize,
        /// How many seats there are.
        #[arg(long, default_value_t = 500)]
        seats: usize,
        /// A running system; without it, one is started for the occasion.
        #[arg(long)]
        url: Option<String>,
        /// Repeats an earlier rush's wishes.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Look at what could not be handled, and replay it.
    Redrive {
        /// The environment of the functions, as `serve --env-file` writes it; without it, this process' own.
        #[arg(long, global = true)]
        env_file: Option<PathBuf>,
        #[command(subcommand)]
        what: Option<Redrive>,
    },
    /// Run a scheduled job once, and print what it did.
    Job {
        /// Which: expire, heal, reconcile, write-back, settle.
        name: String,
        /// The environment of the functions, as `serve --env-file` writes it; without it, this process' own.
        #[arg(long)]
        env_file: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum Redrive {
    /// Show what there is (the default).
    List {
        /// In one of the topics only.
        #[arg(long, value_enum)]
        topic: Option<FailureTopic>,
        /// Begin behind this entry.
        #[arg(long)]
        after: Option<EntryId>,
        /// Most entries.
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Show all of one entry, `<topic>-<partition>@<offset>`.
    Show {
        /// Which.
        entry: EntryId,
    },
    /// Produce again what entries keep, to the topic of requests.
    Replay {
        /// Which entries.
        #[arg(required_unless_present = "all", conflicts_with_all = ["all", "topic", "from_start", "limit"])]
        entries: Vec<EntryId>,
        /// All that no earlier run has passed.
        #[arg(long)]
        all: bool,
        /// Of one of the topics only.
        #[arg(long, value_enum)]
        topic: Option<FailureTopic>,
        /// Whatever earlier runs have passed.
        #[arg(long)]
        from_start: bool,
        /// Most entries in this run.
        #[arg(long)]
        limit: Option<usize>,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum FailureTopic {
    Dlq,
    Failed,
}

impl From<FailureTopic> for Topic {
    fn from(topic: FailureTopic) -> Self {
        match topic {
            FailureTopic::Dlq => Topic::Dlq,
            FailureTopic::Failed => Topic::Failed,
        }
    }
}

impl From<Redrive> for Asked {
    fn from(what: Redrive) -> Self {
        let none = Self::default();
        match what {
            Redrive::List { topic, after, limit } => {
                Self { action: Action::List, topic: topic.map(Topic::from), after, limit, ..none }
            }
            Redrive::Show { entry } => Self { action: Action::Show, entry: Some(entry), ..none },
            Redrive::Replay { entries, all, topic, from_start, limit, dry_run } => {
                let topic = topic.map(Topic::from);
                Self { action: Action::Replay, entries, all, topic, from_start, limit, dry_run, ..none }
            }
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Set {
    Embedded,
    Real,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| EnvFilter::new("warn,dynoxide=off,krafka=off,fred=off")),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let done = match cli.command {
        Command::Serve { servers, port, env_file, event } => {
            let set = if matches!(servers, Set::Real) { ServerSet::Real } else { ServerSet::Embedded };
            serve::serve(set, port, env_file, &event).await
        }
        Command::Token { customer, scope } => print_token(&customer, &scope),
        Command::Openapi => print_description(),
        Command::Redrive { env_file, what } => {
            redrive_by_hand(env_file.as_deref(), what.map(Asked::from).unwrap_or_default()).await
        }
        Command::Job { name, env_file } => job_by_hand(env_file.as_deref(), &name).await,
        Command::Rush { customers, seats, url, seed } => hold_rush(customers, seats, url, seed).await,
    };
    done.unwrap_or_else(|error| {
        eprintln!("local: {error}");
        ExitCode::FAILURE
    })
}

fn print_token(customer: &str, scopes: &[String]) -> Result<ExitCode, Failure> {
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    println!("{}", token(customer, &scopes)?);
    Ok(ExitCode::SUCCESS)
}

fn print_description() -> Result<ExitCode, Failure> {
    println!("{}", reservation_api::openapi::document(MIN_HOLD_SECONDS).to_pretty_json()?);
    Ok(ExitCode::SUCCESS)
}

async fn redrive_by_hand(env_file: Option<&Path>, asked: Asked) -> Result<ExitCode, Failure> {
    let done = redrive::run(&of_functions(env_file)?, asked).await?;
    println!("{}", redrive::table(&done));
    Ok(if redrive::is_complete(&done) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn job_by_hand(env_file: Option<&Path>, name: &str) -> Result<ExitCode, Failure> {
    let report = job::run(&of_functions(env_file)?, name).await?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(if job::is_complete(&report) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn hold_rush(
    customers: usize,
    seats: usize,
    url: Option<String>,
    seed: Option<u64>,
) -> Result<ExitCode, Failure> {
    let mut settings = RushSettings { customers, seats, ..RushSettings::default() };
    settings.seed = seed.unwrap_or(settings.seed);
    let system = match &url {
        Some(_) => None,
        None => {
            Some(System::start(serve::settings(ServerSet::Embedded), TcpListener::bind("127.0.0.1:0").await?).await?)
        }
    };
    // What it says is checked where the topic is at hand.
    let outcomes = match &system {
        Some(system) => Some(system.outcomes().await?),
        None => None,
    };
    let url = url.or_else(|| system.as_ref().map(System::api_url)).unwrap_or_default();
    let sign = |customer: &str, scopes: &[&str]| token(customer, scopes).unwrap_or_default();
    let report = rush::run(settings, ApiClient::new(&url)?, sign, outcomes.as_ref()).await;
    if let Some(outcomes) = outcomes {
        outcomes.stop().await;
    }
    if let Some(system) = system {
        system.stop().await?;
    }
    let report = report?;
    println!("{report}");
    Ok(ExitCode::from(report.exit_code()))
}
