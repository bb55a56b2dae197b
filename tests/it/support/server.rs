//! The HTTP server alone on a real socket, with a board that the test fills and an operator that the test gives.

use actix_web::dev::ServerHandle;
use drover::board::{Board, Identity};
use drover::config::HttpConfig;
use drover::domain::mask::Mask;
use drover::http::{HttpState, OperatorSlot, serve};
use drover::metrics::Metrics;
use reqwest::blocking::{Client, Response};
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// A server on a free port, stopped when it is dropped.
pub struct Running {
    pub addr: SocketAddr,
    pub board: Arc<Board>,
    pub metrics: Metrics,
    pub operator: OperatorSlot,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start(token: Option<&str>) -> Self {
        Self::with(HttpConfig { token: token.map(ToOwned::to_owned), ..HttpConfig::default() })
    }

    /// A server of this configuration, but for the address.
    pub fn with(config: HttpConfig) -> Self {
        let identity = Identity {
            version: env!("CARGO_PKG_VERSION").into(),
            replica_id: "replica-a".into(),
            group: "dashboard_consumer_group".into(),
            topics: vec!["user_events".into()],
            store: "postgres".into(),
            cluster_id: None,
        };
        let board = Arc::new(Board::new(identity, 1_700_000_000_000));
        let metrics = Metrics::new().unwrap();
        let config = HttpConfig { addr: "127.0.0.1:0".parse().unwrap(), ..config };
        let state = HttpState::new(board.clone(), metrics.clone(), config, Mask::default(), Arc::default());
        let operator = state.operator.clone();
        let (started, start) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix::System::new().block_on(async move {
                let (server, addr) = serve(state).unwrap();
                started.send((server.handle(), addr)).unwrap();
                server.await.unwrap();
            });
        });
        let (handle, addr) = start.recv().unwrap();
        Self { addr, board, metrics, operator, handle, thread: Some(thread) }
    }

    pub fn get(&self, path: &str) -> Response {
        client().get(format!("http://{}{path}", self.addr)).send().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The stop is an order that the server's own thread carries out; the future only waits for it.
        drop(self.handle.stop(false));
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the server's thread panicked");
    }
}

pub fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}
