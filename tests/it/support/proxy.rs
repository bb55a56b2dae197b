//! A TCP proxy whose connections can be cut, as networks do: at any time, or around the COMMIT of a writer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};

/// COMMIT as a simple query, and the server's answer to it, as they stand on the wire.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";
/// What the first message of a writer's connection holds.
const WRITER: &[u8] = b"drover/writer";

/// Where the connections of writers are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutAt {
    /// The server never sees the COMMIT: it rolls back.
    Commit,
    /// The server has committed, and its answer is lost.
    Answer,
}

pub struct Proxy {
    pub port: u16,
    accepting: JoinHandle<()>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    /// Cuts that are still to come.
    left: Arc<AtomicUsize>,
    /// Connections with a lower number are frozen.
    frozen: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens on a free port and forwards to `server`.
    pub async fn to(server: String) -> Self {
        Self::cutting(server, CutAt::Commit, 0).await
    }

    /// The same, and cuts the first so many commits of writers.
    pub async fn cutting(server: String, cut_at: CutAt, cuts: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let left = Arc::new(AtomicUsize::new(cuts));
        let (kept, cuts) = (Arc::clone(&connections), Arc::clone(&left));
        let frozen = Arc::new(AtomicUsize::new(0));
        let freezing = Arc::clone(&frozen);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, cuts) = (server.clone(), Arc::clone(&cuts));
                let (number, freezing) = (kept.lock().unwrap().len(), Arc::clone(&freezing));
                let forwarding = tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        forward(client, server, cut_at, &cuts, || number < freezing.load(Ordering::SeqCst)).await;
                    }
                });
                kept.lock().unwrap().push(forwarding.abort_handle());
            }
        });
        Self { port, accepting, connections, left, frozen }
    }

    /// Cuts the connections that there are; new ones are forwarded.
    pub fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }

    /// Cuts so many commits more.
    #[allow(dead_code, reason = "not every binary that shares this file cuts again")]
    pub fn cut_commits(&self, cuts: usize) {
        self.left.fetch_add(cuts, Ordering::SeqCst);
    }

    /// Swallows what passes on the connections that there are, as a broken network does: nobody is told. New ones are
    /// forwarded.
    #[allow(dead_code, reason = "not every binary that shares this file freezes")]
    pub fn freeze(&self) {
        self.frozen.store(self.connections.lock().unwrap().len(), Ordering::SeqCst);
    }

    /// Commits that are still to be cut.
    pub fn cuts_left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

/// Forwards both ways until one side ends or the cut comes; then both connections are closed.
async fn forward(
    mut client: TcpStream,
    mut server: TcpStream,
    cut_at: CutAt,
    cuts: &AtomicUsize,
    is_frozen: impl Fn() -> bool,
) {
    let mut to_server = Seen::default();
    let mut to_client = Seen::default();
    let (mut from_client, mut from_server) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut of_writer = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(1..) = read else {
                    if is_frozen() {
                        // Nobody is told of the end either.
                        std::future::pending::<()>().await;
                    }
                    return;
                };
                let bytes = &from_client[..read.unwrap_or(0)];
                if is_frozen() {
                    continue;
                }
                of_writer |= to_server.holds(WRITER, bytes);
                if cut_at == CutAt::Commit && of_writer && to_server.holds(COMMIT, bytes) && take(cuts) {
                    return;
                }
                to_server.pass(bytes);
                if server.write_all(bytes).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(1..) = read else {
                    if is_frozen() {
                        // Nobody is told of the end either.
                        std::future::pending::<()>().await;
                    }
                    return;
                };
                let bytes = &from_server[..read.unwrap_or(0)];
                if is_frozen() {
                    continue;
                }
                if cut_at == CutAt::Answer && of_writer && to_client.holds(COMMITTED, bytes) && take(cuts) {
                    return;
                }
                to_client.pass(bytes);
                if client.write_all(bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn take(cuts: &AtomicUsize) -> bool {
    cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

/// The end of what has passed, so that a text in two pieces is found.
#[derive(Default)]
struct Seen(Vec<u8>);

impl Seen {
    /// Whether `text` ends in `bytes`.
    fn holds(&self, text: &[u8], bytes: &[u8]) -> bool {
        let kept = &self.0[self.0.len().saturating_sub(text.len() - 1)..];
        let joined = [kept, bytes].concat();
        joined.windows(text.len()).any(|window| window == text)
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let more = self.0.len().saturating_sub(32);
        self.0.drain(..more);
    }
}
