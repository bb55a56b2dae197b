//! One client of the stream: its queue, and what it was too slow for.
//!
//! The queue is bounded by [`QUEUE`] events. Of those a slow client loses rows of the feed first, then snapshots, which the next
//! one replaces; when even states and orders find no place, its stream ends, and it comes back with the number of the last
//! event that it saw. Never waits.

use crate::http::session::SessionId;
use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Events that wait for a client: states of every child of a large process, twice.
const QUEUE: usize = 1_024;
/// With so many waiting, rows of the feed are not added: the queues of slow clients would otherwise hold megabytes.
const FULL_FOR_FEED: usize = 2;
/// With so many waiting, snapshots are not added.
const FULL_FOR_SNAPSHOT: usize = 4;
/// Seconds without room for a snapshot after which nobody reads any more.
const GIVE_UP_SECONDS: u32 = 30;

/// See the module.
pub struct Client {
    /// Its number among all that there ever were.
    pub id: u64,
    /// Whether it wants the feed.
    pub feed: bool,
    /// The session that let it in.
    pub session: Option<SessionId>,
    queue: mpsc::Sender<Bytes>,
    /// Rows that it was too slow for, or that were gone when it came, and that it was not told of yet.
    lost: u64,
    seconds_full: u32,
}

/// An event of the feed, written so that the count of lost rows can be changed for one client.
#[derive(Clone)]
pub struct FeedFrame {
    /// The whole event.
    pub whole: Bytes,
    /// It without the count and what follows.
    pub head: Bytes,
    /// The count.
    pub dropped: u64,
    /// Rows in it.
    pub rows: u64,
}

impl FeedFrame {
    /// What follows `head` when so many rows were lost.
    pub fn tail(dropped: u64) -> Bytes {
        Bytes::from(format!("{dropped}}}\n\n"))
    }
}

impl Client {
    /// A client and what the server reads for it.
    pub fn new(id: u64, feed: bool, session: Option<SessionId>, lost: u64) -> (Self, mpsc::Receiver<Bytes>) {
        let (queue, events) = mpsc::channel(QUEUE);
        (Self { id, feed, session, queue, lost, seconds_full: 0 }, events)
    }

    fn waiting(&self) -> usize {
        QUEUE - self.queue.capacity()
    }

    /// Adds an event that it must not miss. Gives back whether it goes on.
    pub fn send(&self, frame: &Bytes) -> bool {
        self.queue.try_send(frame.clone()).is_ok()
    }

    /// Adds a snapshot, or a sign of life, if there is room for one. Gives back whether it goes on.
    pub fn send_snapshot(&mut self, frame: &Bytes) -> bool {
        if self.waiting() >= FULL_FOR_SNAPSHOT {
            self.seconds_full += 1;
            return self.seconds_full < GIVE_UP_SECONDS;
        }
        self.seconds_full = 0;
        self.send(frame)
    }

    /// Adds rows of the feed if there is room; gives back how many it lost.
    pub fn send_feed(&mut self, frame: &FeedFrame) -> u64 {
        if !self.feed {
            return 0;
        }
        if self.waiting() >= FULL_FOR_FEED {
            self.lost += frame.rows + frame.dropped;
            return frame.rows;
        }
        // A stream that has ended is taken out by whoever held its end.
        if self.lost == 0 {
            let _ = self.queue.try_send(frame.whole.clone());
        } else {
            let tail = FeedFrame::tail(frame.dropped + std::mem::take(&mut self.lost));
            let _ = self.queue.try_send(frame.head.clone()).and_then(|()| self.queue.try_send(tail));
        }
        0
    }
}

/// The body of the answer: events as they come, until the client is taken out or goes.
pub struct Events {
    events: mpsc::Receiver<Bytes>,
    /// Called when it is dropped.
    gone: Option<Box<dyn FnOnce()>>,
}

impl Events {
    /// Reads these events; `gone` is called when nobody reads any more.
    pub fn new(events: mpsc::Receiver<Bytes>, gone: impl FnOnce() + 'static) -> Self {
        Self { events, gone: Some(Box::new(gone)) }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(gone) = self.gone.take() {
            gone();
        }
    }
}

impl MessageBody for Events {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        self.get_mut().events.poll_recv(context).map(|event| event.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
    use super::*;

    fn feed(rows: u64, dropped: u64) -> FeedFrame {
        let head = Bytes::from_static(b"head");
        let whole = Bytes::from([&head[..], &FeedFrame::tail(dropped)].concat());
        FeedFrame { whole, head, dropped, rows }
    }

    fn text(events: &mut mpsc::Receiver<Bytes>) -> String {
        let mut all = String::new();
        while let Ok(frame) = events.try_recv() {
            all += std::str::from_utf8(&frame).unwrap();
        }
        all
    }

    #[test]
    fn a_slow_client_loses_rows_is_told_how_many_and_keeps_states_and_orders() {
        let (mut client, mut events) = Client::new(1, true, None, 0);
        let state = Bytes::from_static(b"state;");
        assert!(client.send(&state) && client.send(&state));
        assert_eq!(client.send_feed(&feed(10, 3)), 10);
        assert_eq!(client.send_feed(&feed(5, 0)), 5);
        assert!(client.send_snapshot(&Bytes::from_static(b"snapshot;")) && client.send(&state));
        assert!(
            client.send_snapshot(&Bytes::from_static(b"another;")),
            "there is no room, and the next one comes soon"
        );
        assert_eq!(text(&mut events), "state;state;snapshot;state;");
        assert_eq!(client.send_feed(&feed(1, 2)), 0);
        assert_eq!(client.send_feed(&feed(1, 0)), 1, "two of its pieces wait");
        assert_eq!(text(&mut events), "head20}\n\n");
        assert_eq!(client.send_feed(&feed(1, 0)), 0);
        assert_eq!(text(&mut events), "head1}\n\n");
    }

    #[test]
    fn a_client_that_reads_nothing_any_more_is_given_up() {
        let (mut client, _events) = Client::new(1, false, None, 0);
        let frame = Bytes::from_static(b"x");
        assert_eq!(client.send_feed(&feed(10, 0)), 0, "it does not want the feed, so it loses nothing");
        let taken = (0..100).take_while(|_| client.send_snapshot(&frame)).count();
        assert_eq!(taken, FULL_FOR_SNAPSHOT + GIVE_UP_SECONDS as usize - 1);
        let (client, _events) = Client::new(2, true, None, 0);
        assert_eq!((0..2_000).take_while(|_| client.send(&frame)).count(), QUEUE);
    }
}
