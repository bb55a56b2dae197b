//! The real binary as a process: started, asked, killed. Its log is printed when the test fails.

use super::wait::{PATIENCE, until, until_some};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Lines of a log that a failing test prints.
const LOG_LINES: usize = 150;

/// The binary that is tested: the one that DROVER_BIN names, else the one that was built with the tests.
pub fn binary() -> PathBuf {
    std::env::var_os("DROVER_BIN").map_or_else(|| env!("CARGO_BIN_EXE_drover").into(), PathBuf::from)
}

/// What a process is started with. Nothing of the tests' own environment reaches it but PATH.
#[derive(Clone)]
pub struct DroverCommand {
    directory: PathBuf,
    args: Vec<String>,
    settings: BTreeMap<String, String>,
}

/// How a command ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub log: String,
}

impl DroverCommand {
    /// `drover` with these arguments, its log and working directory in `directory`.
    pub fn new(directory: &Path, args: &[&str]) -> Self {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Self { directory: directory.to_owned(), args, settings: BTreeMap::new() }
    }

    /// Sets an environment variable.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.insert(name.to_owned(), value.to_string());
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Starts it; `name` is that of its log.
    pub fn start(&self, name: &str) -> Drover {
        let file = |kind: &str| {
            let (file, path) = tempfile::Builder::new()
                .prefix(&format!("{name}-"))
                .suffix(kind)
                .tempfile_in(&self.directory)
                .unwrap()
                .keep()
                .unwrap();
            (file, path)
        };
        let ((stdout, stdout_path), (log, log_path)): ((File, PathBuf), (File, PathBuf)) = (file(".out"), file(".log"));
        let mut command = Command::new(binary());
        let child =
            self.prepare(command.args(&self.args)).stdin(Stdio::null()).stdout(stdout).stderr(log).spawn().unwrap();
        Drover { name: name.to_owned(), child, stdout: stdout_path, log: log_path }
    }

    /// Starts it in a terminal of its own: what is typed goes to its standard input, all that it says comes from its output.
    pub fn in_terminal(&self) -> Child {
        let line: Vec<String> = std::iter::once(binary().display().to_string()).chain(self.args.clone()).collect();
        let mut command = Command::new("script");
        let command = self.prepare(command.args(["-q", "-e", "-c", &line.join(" "), "/dev/null"]));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var_os("PATH").map(|path| ("PATH", path));
        command.env_clear().envs(path).envs(&self.settings).current_dir(&self.directory)
    }

    /// Runs it to its end.
    pub async fn run(&self, name: &str) -> Ended {
        self.start(name).ended().await
    }
}

/// A process, killed when it is dropped.
pub struct Drover {
    name: String,
    child: Child,
    stdout: PathBuf,
    log: PathBuf,
}

impl Drover {
    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// How often its log holds `text`.
    pub fn logged(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Waits until its log holds `text`.
    pub async fn until_logged(&mut self, text: &str) {
        let what = format!("{:?} in the log of {}", text, self.name);
        let deadline = Instant::now() + PATIENCE;
        while self.logged(text) == 0 {
            assert!(self.child.try_wait().unwrap().is_none(), "{} ended before {what}", self.name);
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, such as TERM, STOP or CONT.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// The most memory that it has had resident.
    pub fn peak_resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// kill -9, at once.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "{} did not end", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Ended { code: status.code(), stdout: std::fs::read_to_string(&self.stdout).unwrap(), log: self.log() }
    }

    /// SIGTERM, then its end.
    pub async fn terminate(&mut self) -> Ended {
        self.signal("TERM");
        self.ended().await
    }

    /// SIGTERM, then its end, which must be clean.
    pub async fn stop(&mut self) {
        let ended = self.terminate().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    }

    /// Where it serves HTTP, as its log says.
    pub async fn url(&self, path: &str) -> String {
        let url = until_some("the address of the page in the log", async || {
            let log = self.log();
            let at = log.find("page, API and metrics url=")?;
            log[at..].lines().next()?.split_once("url=").map(|(_, url)| url.trim().to_owned())
        })
        .await;
        format!("{url}{path}")
    }

    /// The body of an answer and its status; `None` while nobody answers.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let url = self.url(path).await;
        let answer = reqwest::get(url).await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Why it is not ready; empty when it is, `None` while it does not answer.
    pub async fn not_ready(&self) -> Option<Vec<String>> {
        let (status, body) = self.get("health/ready").await?;
        let body: Value = serde_json::from_str(&body).unwrap();
        let reasons: Vec<String> =
            body["reasons"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap().to_owned()).collect();
        assert_eq!(status == 200, reasons.is_empty(), "{status} {body}");
        Some(reasons)
    }

    /// Waits until it is ready.
    pub async fn until_ready(&self) {
        let mut last = None;
        let deadline = Instant::now() + PATIENCE;
        while last != Some(vec![]) {
            assert!(Instant::now() < deadline, "{} is never ready: {last:?}", self.name);
            last = self.not_ready().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it says why it is not ready, with `text` in one reason, which is given back.
    pub async fn until_not_ready(&self, text: &str) -> String {
        until_some(&format!("readiness to name {text:?}"), async || {
            self.not_ready().await?.into_iter().find(|reason| reason.contains(text))
        })
        .await
    }

    /// The document of `/api/v1/status`.
    pub async fn status(&self) -> Value {
        until_some("the status", async || serde_json::from_str(&self.get("api/v1/status").await?.1).ok()).await
    }

    /// The document of a path of the API, once it answers with 200.
    pub async fn api(&self, path: &str) -> Value {
        until_some(path, async || {
            let (status, body) = self.get(path).await?;
            if status == 200 { serde_json::from_str(&body).ok() } else { None }
        })
        .await
    }

    /// The sum of all series of a metric; `None` while there is none.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("metrics").await?;
        let of = |line: &str| {
            let rest = line.strip_prefix(name)?;
            if rest.starts_with(['{', ' ']) { rest.rsplit(' ').next()?.parse::<f64>().ok() } else { None }
        };
        text.lines().filter_map(of).reduce(|sum, value| sum + value)
    }

    /// The state of a child, as `/api/v1/children` shows it; `None` when there is no such child.
    pub async fn child(&self, id: &str) -> Option<Value> {
        let answer = until_some("the children", async || self.get("api/v1/children").await).await.1;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["children"].as_array().unwrap().iter().find(|child| child["id"] == id).cloned()
    }

    /// Waits until a child is in this state.
    pub async fn until_child_is(&self, id: &str, state: &str) {
        let what = format!("{id} of {} to be {state}", self.name);
        until(&what, async || self.child(id).await.is_some_and(|child| child["state"] == state)).await;
    }

    /// How many partitions each of its consumers owns.
    pub async fn owned(&self) -> BTreeMap<String, usize> {
        let status = self.status().await;
        let consumers = status["consumers"].as_array().unwrap();
        let owned = consumers.iter().map(|consumer| {
            (consumer["id"].as_str().unwrap().to_owned(), consumer["partitions"].as_array().unwrap().len())
        });
        owned.collect()
    }

    /// Waits until each of its consumers owns so many partitions.
    pub async fn until_each_owns(&self, partitions: usize) {
        let what = format!("each consumer of {} to own {partitions} partitions", self.name);
        until(&what, async || {
            let owned = self.owned().await;
            !owned.is_empty() && owned.values().all(|&count| count == partitions)
        })
        .await;
    }
}

impl Drop for Drover {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("--- log of {}, last {} of {} lines\n{}", self.name, shown.len(), lines.len(), shown.join("\n"));
        }
    }
}
