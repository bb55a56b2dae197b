//! The hub: makes each event of the stream once, for all clients, and hands it to their queues.
//!
//! Works on the thread of the HTTP server, woken once a second for the look at the process, four times a second while somebody
//! wants the feed, and when a child changes or an order was given. Bound: [`MOST_CLIENTS`], their queues, and the ring of what was
//! sent. It never waits for a client. Ends with its thread, and begins anew with the next one.

use super::client::{Client, Events, FeedFrame};
use super::ring::{Kept, Ring};
use crate::board::Board;
use crate::domain::mask::{Mask, Texts};
use crate::domain::status::ChildStatus;
use crate::feed::{Feed, FeedRow, Watch};
use crate::history::Sampler;
use crate::http::session::{SessionId, Sessions};
use crate::metrics::Metrics;
use crate::store::audit_log::LoggedEntry;
use actix_web::web::Bytes;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

/// Clients at once; a page holds one per tab.
pub const MOST_CLIENTS: usize = 64;
/// Time between two snapshots.
const SECOND: Duration = Duration::from_secs(1);
/// Time between two looks at the feed.
const QUARTER: Duration = Duration::from_millis(250);
/// Seconds between two signs of life for proxies.
const SIGN_OF_LIFE_SECONDS: u64 = 15;
/// When a client comes back, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// What the hub makes its events of.
pub struct Sources {
    /// Live state.
    pub board: Arc<Board>,
    /// Looks at it.
    pub sampler: Arc<Sampler>,
    /// What was committed and ordered.
    pub feed: Arc<Feed>,
    /// What of it is never shown.
    pub mask: Arc<Mask>,
    /// Who is logged in.
    pub sessions: Arc<Sessions>,
    /// Clients and lost rows are counted there.
    pub metrics: Metrics,
}

/// See the module.
pub struct Hub {
    sources: Sources,
    /// Numbers of another process mean nothing here.
    process: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clients: Vec<Client>,
    ring: Ring,
    /// The number of the last event.
    number: u64,
    last_client: u64,
    watch: Option<Watch>,
    children: HashMap<String, ChildStatus>,
    /// Of this second, once somebody asked for it.
    snapshot: Option<Bytes>,
    seconds: u64,
}

/// A row of the feed, as it is sent.
#[derive(Serialize)]
struct FeedEvent<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    key: Option<&'a str>,
    user_id: Option<&'a str>,
    event_type: Option<&'a str>,
    element_id: Option<&'a str>,
    occurred_at_ms: Option<i64>,
    stored_at_ms: i64,
    consumer_id: &'a str,
    source: Option<&'a str>,
    status: &'static str,
    code: Option<&'a str>,
    latency_ms: Option<i64>,
}

impl<'a> From<&'a FeedRow> for FeedEvent<'a> {
    fn from(row: &'a FeedRow) -> Self {
        Self {
            topic: &row.topic,
            partition: row.partition,
            offset: row.offset,
            key: row.key.as_deref(),
            user_id: row.user_id.as_deref(),
            event_type: row.event_type.as_deref(),
            element_id: row.element_id.as_deref(),
            occurred_at_ms: row.occurred_at_ms,
            stored_at_ms: row.stored_at_ms,
            consumer_id: &row.consumer_id,
            source: row.source.as_deref(),
            status: if row.code.is_some() { "dead_letter" } else { "stored" },
            code: row.code.as_deref(),
            latency_ms: row.latency_ms,
        }
    }
}

impl Hub {
    /// A hub without clients.
    pub fn new(sources: Sources) -> Self {
        let process = format!("{:08x}", rand::random::<u32>());
        Self { sources, process, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the process and sends, until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut children = self.sources.board.subscribe();
        let mut orders = self.sources.feed.orders();
        let mut second = interval(SECOND);
        let mut quarter = interval(QUARTER);
        for tick in [&mut second, &mut quarter] {
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        }
        loop {
            let watched = self.state().watch.is_some();
            tokio::select! {
                _ = second.tick() => self.second(),
                _ = quarter.tick(), if watched => self.send_feed(),
                // The board lives as long as this does.
                Ok(()) = children.changed() => {
                    let now = children.borrow_and_update().clone();
                    self.send_states(&now);
                }
                order = orders.recv() => match order {
                    Ok(entry) => self.send_order(&entry),
                    // The log has them all.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// The look of this second as JSON: the same bytes for everybody.
    pub fn snapshot(&self) -> Bytes {
        let state = &mut *self.state();
        self.snapshot_of(state)
    }

    fn snapshot_of(&self, state: &mut State) -> Bytes {
        state.snapshot.get_or_insert_with(|| json(&*self.sources.sampler.latest(now_ms()))).clone()
    }

    /// A new client, which goes on after the event that it saw last; `None` when there are too many.
    pub fn join(
        self: &Arc<Self>,
        feed: bool,
        session: Option<SessionId>,
        last_event_id: Option<&str>,
    ) -> Option<Events> {
        let state = &mut *self.state();
        if state.clients.len() >= MOST_CLIENTS {
            return None;
        }
        let last = last_event_id
            .and_then(|id| id.strip_prefix(self.process.as_str())?.strip_prefix('-')?.parse().ok())
            // One that was never given.
            .filter(|last| *last <= state.number);
        let missed = last.and_then(|last| state.ring.after(last));
        let (events, lost) = missed.map_or((Vec::new(), 0), |missed| (missed.events, missed.rows_gone));
        state.last_client += 1;
        let id = state.last_client;
        let (client, queue) = Client::new(id, feed, session, if feed { lost } else { 0 });
        client.send(&Bytes::from(format!("retry: {RETRY_MS}\n\n")));
        for event in events.iter().filter(|event| feed || event.rows.is_none()) {
            client.send(&event.frame);
        }
        let body = self.snapshot_of(state);
        client.send(&frame(&self.next_id(state), "snapshot", &body));
        state.clients.push(client);
        self.count(state);
        let hub = Arc::clone(self);
        Some(Events::new(queue, move || hub.leave(id)))
    }

    fn leave(&self, id: u64) {
        let state = &mut *self.state();
        state.clients.retain(|client| client.id != id);
        self.count(state);
    }

    /// Tells the metrics how many look, and the consumers whether anybody wants the feed.
    fn count(&self, state: &mut State) {
        self.sources.metrics.stream_clients.set(i64::try_from(state.clients.len()).unwrap_or(i64::MAX));
        if !state.clients.iter().any(|client| client.feed) {
            state.watch = None;
        } else if state.watch.is_none() {
            state.watch = Some(self.sources.feed.watch());
        }
    }

    fn next_id(&self, state: &mut State) -> String {
        state.number += 1;
        format!("{}-{}", self.process, state.number)
    }

    fn second(&self) {
        self.sources.sampler.look(now_ms());
        let state = &mut *self.state();
        state.snapshot = None;
        state.seconds += 1;
        if state.clients.is_empty() {
            return;
        }
        let body = self.snapshot_of(state);
        let mut event = frame(&self.next_id(state), "snapshot", &body);
        if state.seconds.is_multiple_of(SIGN_OF_LIFE_SECONDS) {
            event = Bytes::from([&b":\n\n"[..], &event].concat());
        }
        let sessions = &self.sources.sessions;
        state.clients.retain_mut(|client| {
            client.session.is_none_or(|session| sessions.lives(session)) && client.send_snapshot(&event)
        });
        self.count(state);
    }

    fn send_feed(&self) {
        let (mut rows, dropped) = self.sources.feed.take();
        if rows.is_empty() && dropped == 0 {
            return;
        }
        for row in &mut rows {
            let decoded = row.code.is_none();
            if self.sources.mask.hides(Some(&row.topic), "occurred_at") {
                row.occurred_at_ms = None;
            }
            let FeedRow { topic, key, event_type, user_id, element_id, .. } = row;
            self.sources.mask.event(topic, decoded, Texts { key, event_type, user_id, element_id });
        }
        let events: Vec<FeedEvent<'_>> = rows.iter().map(FeedEvent::from).collect();
        let state = &mut *self.state();
        let id = self.next_id(state);
        let mut head = format!("id: {id}\nevent: feed\ndata: {{\"rows\":").into_bytes();
        head.extend_from_slice(&json(&events));
        head.extend_from_slice(b",\"dropped\":");
        let end = head.len();
        head.extend_from_slice(&FeedFrame::tail(dropped));
        let whole = Bytes::from(head);
        let feed = FeedFrame { head: whole.slice(..end), whole, dropped, rows: rows.len() as u64 };
        let lost = state.clients.iter_mut().map(|client| client.send_feed(&feed)).sum();
        self.sources.metrics.stream_dropped_events.inc_by(lost);
        let rows = Some(feed.rows + dropped);
        state.ring.push(Kept { number: state.number, frame: feed.whole, rows });
    }

    fn send_states(&self, children: &[ChildStatus]) {
        let state = &mut *self.state();
        let changed: Vec<&ChildStatus> =
            children.iter().filter(|child| state.children.get(&child.id) != Some(child)).collect();
        for child in changed {
            self.send(state, "state", child);
        }
        state.children = children.iter().map(|child| (child.id.clone(), child.clone())).collect();
    }

    fn send_order(&self, entry: &LoggedEntry) {
        let state = &mut *self.state();
        self.send(state, "command", entry);
    }

    /// Sends an event that nobody must miss.
    fn send(&self, state: &mut State, name: &str, body: &impl Serialize) {
        let event = frame(&self.next_id(state), name, &json(body));
        state.clients.retain(|client| client.send(&event));
        self.count(state);
        state.ring.push(Kept { number: state.number, frame: event, rows: None });
    }
}

fn frame(id: &str, name: &str, body: &[u8]) -> Bytes {
    let head = format!("id: {id}\nevent: {name}\ndata: ");
    Bytes::from([head.as_bytes(), body, b"\n\n"].concat())
}

/// In one line, as the stream needs it.
fn json(body: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(body).expect("plain data with names as keys is always JSON"))
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
