//! The servers: those that the run names, which all tests share, and private ones that a test may crash.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};

/// The servers that all tests share.
#[derive(Debug, Clone)]
pub struct Servers {
    pub brokers: String,
    pub database_url: String,
}

/// Those that `scripts/test` names; without them a line says that the test is skipped.
pub fn shared() -> Option<Servers> {
    let named = |name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty());
        if value.is_none() {
            println!("skipped: {name} is not set; scripts/test starts the servers and sets it");
        }
        value
    };
    Some(Servers { brokers: named("TEST_KAFKA_BROKERS")?, database_url: named("TEST_DATABASE_URL")? })
}

/// The script that starts Kafka, which runs its tools too.
pub fn kafka_script() -> Option<PathBuf> {
    std::env::var_os("DROVER_TEST_KAFKA_SCRIPT").map(PathBuf::from)
}

/// A PostgreSQL of this test alone, removed when it is dropped.
pub struct PrivatePostgres {
    script: PathBuf,
    port: u16,
}

impl PrivatePostgres {
    /// Starts one; `None`, and a line that says so, without the script that can.
    pub fn start() -> Option<Self> {
        let Some(script) = std::env::var_os("DROVER_TEST_POSTGRES_SCRIPT") else {
            println!("skipped: DROVER_TEST_POSTGRES_SCRIPT is not set; scripts/test sets it");
            return None;
        };
        let server = Self { script: script.into(), port: free_port() };
        server.run("start");
        Some(server)
    }

    pub fn url(&self) -> String {
        self.run("url").trim().to_owned()
    }

    /// As if the power went.
    pub fn crash(&self) {
        self.run("crash");
    }

    pub fn start_again(&self) {
        self.run("start");
    }

    fn run(&self, verb: &str) -> String {
        let output = self.output(verb);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "scripts/postgres {verb}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn output(&self, verb: &str) -> Output {
        Command::new(&self.script).arg(verb).env("PG_PORT", self.port.to_string()).output().unwrap()
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        let output = self.output("clean");
        if !output.status.success() {
            eprintln!("scripts/postgres clean: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// A port on which nothing listens, below the range that outgoing connections use.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 2_000).unwrap_or(0);
    loop {
        let port = 17_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 2_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
