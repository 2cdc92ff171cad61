//! Apache Kafka as a child process: one KRaft node, broker and controller in one.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use krafka::{Kafka as Client, admin::DescribeClusterOptions};
use uuid::Uuid;

use super::{
    child::{Child, Folder},
    error::StartError,
    jars::Jars,
    port, topics,
};

const JARS: Jars =
    Jars { server: "Apache Kafka", folder: "jars-kafka-2.13-4.3.0", pom: include_str!("../../servers/kafka/pom.xml") };

/// Short-lived and small: no time for the optimising compiler, no memory for a parallel collector.
const JVM: [&str; 4] = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// Formatting takes 3 s on an idle machine, most of it the JVM's start.
const FORMATTED_WITHIN: Duration = Duration::from_secs(60);

/// Up in 5 s on an idle machine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(90);

/// One question whether it is up.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts on other ports when somebody took the first.
const TRIES: u32 = 3;

/// Ways in with TLS and SCRAM-SHA-512, beside the plain one.
#[derive(Debug, Default)]
pub struct Doors {
    /// Whom the cluster knows, and his password.
    pub user: Option<(String, String)>,
    /// A listener for each: a key and its certificate, as PEM.
    pub keystores: Vec<String>,
}

/// An empty one-node cluster on free ports of 127.0.0.1, with its data in a temporary folder. Dies when dropped.
#[derive(Debug)]
pub struct Kafka {
    port: u16,
    doors: Vec<u16>,
    child: Child,
}

impl Kafka {
    /// Starts it, with its jars from below `cache`, and waits until it answers.
    ///
    /// # Errors
    /// [`StartError::Missing`] without Java or Maven, [`StartError::Jars`], or what kept it from answering within 90 s.
    pub async fn start(cache: &Path) -> Result<Self, StartError> {
        Self::start_secured(cache, &Doors::default()).await
    }

    /// The same with these doors.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub async fn start_secured(cache: &Path, doors: &Doors) -> Result<Self, StartError> {
        let class_path = JARS.class_path(cache).await?;
        let mut tries = 1;
        loop {
            match Self::start_on(port::free()?, port::free()?, doors, &class_path).await {
                Err(StartError::Ended { .. }) if tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }

    async fn start_on(port: u16, controller_port: u16, doors: &Doors, class_path: &str) -> Result<Self, StartError> {
        let folder = Folder::new("kafka")?;
        let properties = folder.path().join("server.properties");
        let mut secured = Vec::new();
        for (number, keystore) in doors.keystores.iter().enumerate() {
            let file = folder.path().join(format!("door{number}.pem"));
            fs::write(&file, keystore).map_err(StartError::io("writing Kafka's certificates"))?;
            secured.push((port::free()?, file));
        }
        fs::write(&properties, server_properties(port, controller_port, &secured, &folder.path().join("data")))
            .map_err(StartError::io("writing Kafka's properties"))?;
        let properties = properties.display().to_string();
        let logs = format!("-Dkafka.logs.dir={}", folder.path().display());
        let cluster_id = new_cluster_id();

        let java = [&JVM[..], &[&logs, "-cp", class_path]].concat();
        let known =
            doors.user.iter().map(|(name, password)| format!("SCRAM-SHA-512=[name={name},password={password}]"));
        let known: Vec<String> = known.flat_map(|user| ["--add-scram".to_owned(), user]).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let format = ["kafka.tools.StorageTool", "format", "-t", &cluster_id, "-c", &properties];
        let format = [&java[..], &format, &known].concat();
        Child::spawn(JARS.server, Folder::new("kafka-format")?, format)?.until_it_is_done(FORMATTED_WITHIN).await?;

        let serve = [&java[..], &["kafka.Kafka", &properties]].concat();
        let mut child = Child::spawn(JARS.server, folder, serve)?;
        let answers = || async { cluster_id_of(port).await.is_ok_and(|answered| answered == cluster_id) };
        child.until_it_answers(ANSWERS_WITHIN, answers).await?;
        Ok(Self { port, doors: secured.into_iter().map(|(port, _)| port).collect(), child })
    }

    /// What a client takes as its bootstrap servers.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The same for one of the doors, by the number of its keystore.
    ///
    /// # Panics
    /// Where there is no such door.
    #[must_use]
    pub fn door(&self, number: usize) -> String {
        format!("127.0.0.1:{}", self.doors[number])
    }

    /// Creates topics (name, partitions) and returns when every partition has a leader, at most 30 s later.
    ///
    /// # Errors
    /// [`StartError::Topic`], also when a topic exists already.
    pub async fn create_topics(&self, topics: &[(&str, u32)]) -> Result<(), StartError> {
        topics::create(&self.bootstrap(), topics).await
    }

    /// The server's own process id, to be sent signals.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// As [`Child::stop`].
    pub async fn stop(self) -> Result<(), StartError> {
        self.child.stop().await
    }
}

fn server_properties(port: u16, controller_port: u16, doors: &[(u16, PathBuf)], data: &Path) -> String {
    let (mut listeners, mut protocols, mut secured) = (String::new(), String::new(), String::new());
    for (number, (door, keystore)) in doors.iter().enumerate() {
        listeners += &format!(",DOOR{number}://127.0.0.1:{door}");
        protocols += &format!(",DOOR{number}:SASL_SSL");
        let login = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        secured += &format!(
            "listener.name.door{number}.ssl.keystore.type=PEM
listener.name.door{number}.ssl.keystore.location={}
listener.name.door{number}.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.door{number}.scram-sha-512.sasl.jaas.config={login}
",
            keystore.display()
        );
    }
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
{secured}log.dirs={}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
",
        data.display()
    )
}

/// Kafka's own form of a UUID. The first bit is cleared so that it never starts with the `-` of an option.
fn new_cluster_id() -> String {
    let mut bytes = Uuid::new_v4().into_bytes();
    bytes[0] &= 0x7f;
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Which cluster answers on the port: a stranger who took it first must not be mistaken for ours.
async fn cluster_id_of(port: u16) -> Result<String, krafka::error::KrafkaError> {
    let address = format!("127.0.0.1:{port}");
    let client = Client::builder(address).connect_timeout(ASK_TIMEOUT).request_timeout(ASK_TIMEOUT).connect().await?;
    let cluster = client.admin().describe_cluster(DescribeClusterOptions::default().timeout(ASK_TIMEOUT)).await?;
    Ok(cluster.cluster_id)
}
