//! A link: a TCP proxy that stands for the network between drover and a server. It can swallow what is sent without
//! closing anything, strand the connections that exist, and be slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Pieces of one direction that may be under way at once; more wait in the sender's socket.
const PIECES: usize = 1_024;

/// What the link does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    /// Nothing passes; nothing is closed.
    swallows: bool,
    /// What passes arrives so much later.
    delay: Duration,
    /// Connections with numbers below this one never pass anything again.
    stranded_below: u64,
}

pub struct Link {
    pub port: u16,
    state: watch::Sender<State>,
    next: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Link {
    /// Listens on `port` (0: any) and forwards to `server`.
    pub async fn to(server: String, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, watched) = watch::channel(State::default());
        let next = Arc::new(AtomicU64::new(0));
        let numbers = Arc::clone(&next);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = numbers.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(connect(client, server.clone(), number, watched.clone()));
            }
        });
        Self { port, state, next, accepting }
    }

    /// Packets vanish, both ways, from now on or no longer. TCP sends again what vanished.
    pub fn swallow(&self, swallows: bool) {
        self.state.send_modify(|state| state.swallows = swallows);
    }

    /// The connections that exist never pass anything again, and are not closed; new ones work.
    pub fn strand(&self) {
        let next = self.next.load(Ordering::SeqCst);
        self.state.send_modify(|state| state.stranded_below = next);
    }

    /// What is sent arrives so much later, each way.
    pub fn delay(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Waits until this connection may pass something.
async fn passable(number: u64, state: &mut watch::Receiver<State>) {
    // An error means that the link is gone: what is under way may go.
    let _ = state.wait_for(|state| !state.swallows && number >= state.stranded_below).await;
}

async fn connect(client: TcpStream, server: String, number: u64, mut state: watch::Receiver<State>) {
    passable(number, &mut state).await;
    let Ok(server) = TcpStream::connect(server).await else { return };
    // Nagle's delay would add to ours.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::join!(carry(from_client, to_server, number, state.clone()), carry(from_server, to_client, number, state));
}

/// Carries one direction until it ends.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, number: u64, mut state: watch::Receiver<State>) {
    let (pieces, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let delays = state.clone();
    let reading = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + delays.borrow().delay;
            if pieces.send((due, buffer[..read].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = arriving.recv().await {
            tokio::time::sleep_until(due).await;
            passable(number, &mut state).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        passable(number, &mut state).await;
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}
