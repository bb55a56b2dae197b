//! The servers of a run, all its own: one Kafka, one PostgreSQL, and a cluster of three for the row that needs it. They
//! are started with the project's scripts and removed when dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime};

/// Ports that a Kafka takes: clients, controller, clients that come through a link, the link.
const KAFKA_PORTS: u16 = 4;
/// Heap of a broker; three must fit beside everything else.
const HEAP: &str = "384m";

/// Pause between two looks at whether a server answers.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The scripts that start servers.
#[derive(Debug, Clone)]
pub struct Scripts {
    kafka: PathBuf,
    postgres: PathBuf,
}

impl Scripts {
    /// Those that the environment names; `None` without them.
    pub fn find() -> Option<Self> {
        let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Some(Self { kafka: named("DROVER_TEST_KAFKA_SCRIPT")?, postgres: named("DROVER_TEST_POSTGRES_SCRIPT")? })
    }
}

fn run(script: &Path, verb: &str, environment: &[(&str, String)]) -> String {
    let output = output(script, verb, environment);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{} {verb}: {text}{}", script.display(), String::from_utf8_lossy(&output.stderr));
    text
}

fn output(script: &Path, verb: &str, environment: &[(&str, String)]) -> Output {
    let environment = environment.iter().map(|(name, value)| (*name, value.as_str()));
    // A file, not a pipe: a server that the script leaves running would hold the pipe open.
    let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let status = Command::new(script)
        .arg(verb)
        .envs(environment)
        .stdin(std::process::Stdio::null())
        .stdout(out.reopen().unwrap())
        .stderr(err.reopen().unwrap())
        .status()
        .unwrap();
    let read = |file: &tempfile::NamedTempFile| std::fs::read(file.path()).unwrap_or_default();
    Output { status, stdout: read(&out), stderr: read(&err) }
}

/// One broker.
pub struct Kafka {
    script: PathBuf,
    port: u16,
    /// Ports of all nodes of its cluster; empty when it is alone.
    cluster: Vec<u16>,
}

impl Kafka {
    /// A broker that is alone.
    pub fn start(scripts: &Scripts) -> Self {
        let node = Self { script: scripts.kafka.clone(), port: free_ports(KAFKA_PORTS), cluster: Vec::new() };
        node.verb("start");
        node
    }

    /// Three brokers that replicate.
    pub fn start_three(scripts: &Scripts) -> Vec<Self> {
        let ports = [0; 3].map(|_| free_ports(KAFKA_PORTS));
        let nodes: Vec<Self> =
            ports.iter().map(|&port| Self { script: scripts.kafka.clone(), port, cluster: ports.to_vec() }).collect();
        // None is ready before most of them run.
        nodes[0].verb("start-cluster");
        nodes
    }

    /// Where clients connect.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where a link forwards to, and the port on which it has to listen: clients that ask there are sent there again.
    pub fn linked(&self) -> (String, u16) {
        (format!("127.0.0.1:{}", self.port + 2), self.port + 3)
    }

    /// SIGTERM.
    pub fn stop(&self) {
        self.verb("stop");
    }

    /// kill -9.
    pub fn kill(&self) {
        self.verb("kill");
    }

    pub fn start_again(&self) {
        self.verb("start");
    }

    /// Starts it; gives back when it began to answer.
    pub async fn back(&self) -> SystemTime {
        let (script, environment) = (self.script.clone(), self.environment());
        let starting = tokio::task::spawn_blocking(move || run(&script, "start", &environment));
        let answers = async {
            while tokio::net::TcpStream::connect(self.address()).await.is_err() {
                assert!(!starting.is_finished(), "the broker started and does not answer");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            SystemTime::now()
        };
        let answered = answers.await;
        starting.await.unwrap();
        answered
    }

    /// The version, as the jars name it.
    pub fn version(&self) -> String {
        let directory = PathBuf::from(self.verb("libs").trim());
        let jars = std::fs::read_dir(directory).unwrap().flatten();
        let names = jars.map(|jar| jar.file_name().to_string_lossy().into_owned());
        let mut versions = names.filter_map(|name| {
            let version = name.strip_prefix("kafka-clients-")?.strip_suffix(".jar")?;
            Some(version.to_owned())
        });
        versions.next().unwrap_or_else(|| "unknown".to_owned())
    }

    /// Its directory: data and logs.
    pub fn directory(&self) -> PathBuf {
        self.verb("dir").trim().into()
    }

    fn verb(&self, verb: &str) -> String {
        run(&self.script, verb, &self.environment())
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let cluster: Vec<String> = self.cluster.iter().map(u16::to_string).collect();
        vec![
            ("KAFKA_PORT", self.port.to_string()),
            ("KAFKA_HEAP", HEAP.to_owned()),
            ("KAFKA_CLUSTER", cluster.join(",")),
            ("KAFKA_LINK", format!("{}:{}", self.port + 2, self.port + 3)),
        ]
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if !self.cluster.is_empty() {
            // The last nodes of a cluster wait for the others before they stop.
            output(&self.script, "kill", &self.environment());
        }
        clean(&self.script, &self.environment());
    }
}

/// A PostgreSQL.
pub struct Postgres {
    script: PathBuf,
    port: u16,
}

impl Postgres {
    pub fn start(scripts: &Scripts) -> Self {
        let server = Self { script: scripts.postgres.clone(), port: free_ports(1) };
        server.verb("start");
        server
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The URL through a link that listens on `port`.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://drover@127.0.0.1:{port}/drover")
    }

    /// The same database as the superuser.
    pub fn superuser_url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/drover", self.port)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// An orderly stop.
    pub fn stop(&self) {
        self.verb("stop");
    }

    /// As if the power went.
    pub fn crash(&self) {
        self.verb("crash");
    }

    pub fn start_again(&self) {
        self.verb("start");
    }

    /// Starts it; gives back when it began to let clients in.
    pub async fn back(&self) -> SystemTime {
        let (script, environment) = (self.script.clone(), [("PG_PORT", self.port.to_string())]);
        let starting = tokio::task::spawn_blocking(move || run(&script, "start", &environment));
        while tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await.is_err() {
            assert!(!starting.is_finished(), "PostgreSQL started and does not answer");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let answered = SystemTime::now();
        starting.await.unwrap();
        answered
    }

    /// Its directory: data and log.
    pub fn directory(&self) -> PathBuf {
        self.verb("dir").trim().into()
    }

    fn verb(&self, verb: &str) -> String {
        run(&self.script, verb, &[("PG_PORT", self.port.to_string())])
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        clean(&self.script, &[("PG_PORT", self.port.to_string())]);
    }
}

fn clean(script: &Path, environment: &[(&str, String)]) {
    let output = output(script, "clean", environment);
    if !output.status.success() {
        eprintln!("{} clean: {}", script.display(), String::from_utf8_lossy(&output.stderr));
    }
}

/// The first of so many ports in a row on which nothing listens, below the range that outgoing connections use.
/// DROVER_FAULTS_PORTS names the first to try.
fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let named = std::env::var("DROVER_FAULTS_PORTS").ok().and_then(|port| port.parse().ok());
    let first: u16 = named.unwrap_or_else(|| 24_000 + u16::try_from(std::process::id() % 400).unwrap_or(0) * 10);
    loop {
        let port = first + NEXT.fetch_add(count, Ordering::Relaxed) % 4_000;
        if (port..port + count).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return port;
        }
    }
}
