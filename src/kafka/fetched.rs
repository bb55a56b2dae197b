//! The queue of what was fetched: the records of the partitions that a consumer was assigned, beside librdkafka's own queue
//! of the group.
//!
//! rdkafka takes records and the group's news from one queue, and for each record reads the clock three times, allocates and
//! keeps a statistic; at full load that is a tenth of what a record costs. Here records have a queue of their own, to which
//! each assigned partition is forwarded, and each is popped as it is: what librdkafka withdraws (by a seek, a pause, a
//! revoke) is never delivered, as with its own queue. Bounded like that, by `queued.max.messages.kbytes`. Cannot fail by
//! itself; errors of fetching come in their place among the records.

use super::native::for_each_header;
use super::rebalance::{GroupContext, TopicPartition};
use crate::domain::record::{HeaderVisitor, RawRecord, RecordTimestamp, TimestampType};
use futures::task::AtomicWaker;
use rdkafka::ClientContext as _;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError as NativeError;
use rdkafka_sys as sys;
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::task::{Context, Poll};

type Code = sys::rd_kafka_resp_err_t;
type Client = StreamConsumer<GroupContext>;

/// See the module. To be dropped before its client is.
pub struct FetchedQueue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Librdkafka's thread wakes it when the queue stops being empty.
    waker: Arc<AtomicWaker>,
}

// SAFETY: librdkafka's queues may be used by any thread, and by several at once.
unsafe impl Send for FetchedQueue {}
// SAFETY: as above.
unsafe impl Sync for FetchedQueue {}

impl FetchedQueue {
    /// The queue of a client, which it must not outlive.
    pub fn new(client: &Client) -> Self {
        // SAFETY: the client lives for the call.
        let queue = unsafe { sys::rd_kafka_queue_new(client.client().native_ptr()) };
        let queue = NonNull::new(queue).expect("librdkafka makes queues as long as there is memory");
        let waker = Arc::new(AtomicWaker::new());
        // SAFETY: the waker lives until drop(), which takes the callback away before it lets go of it.
        unsafe {
            let opaque = Arc::as_ptr(&waker).cast_mut().cast::<c_void>();
            sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(wake), opaque);
        }
        Self { queue, waker }
    }

    /// Brings the records of these partitions here; to be called before they are assigned.
    pub fn forward<'p>(&self, client: &Client, partitions: impl Iterator<Item = &'p TopicPartition>) {
        for id in partitions {
            // Topics' names come from librdkafka itself, which ends them with NUL.
            let Ok(topic) = CString::new(id.topic.as_str()) else { continue };
            // SAFETY: client and queue live for the call; the partition's queue is destroyed after its last use, which
            // takes nothing away but this reference to it.
            unsafe {
                let source =
                    sys::rd_kafka_queue_get_partition(client.client().native_ptr(), topic.as_ptr(), id.partition);
                if !source.is_null() {
                    sys::rd_kafka_queue_forward(source, self.queue.as_ptr());
                    sys::rd_kafka_queue_destroy(source);
                }
            }
        }
    }

    /// The next record, or an error of fetching; `None` while there is none.
    pub fn pop<'c>(&self, client: &'c Client) -> Option<Result<FetchedRecord<'c>, NativeError>> {
        loop {
            // SAFETY: the queue lives for the call; the event is ours until it is destroyed.
            let event = Event(NonNull::new(unsafe { sys::rd_kafka_queue_poll(self.queue.as_ptr(), 0) })?);
            // SAFETY: the event is alive; a message of it lives as long as the event does.
            let (kind, message) = unsafe {
                let kind = sys::rd_kafka_event_type(event.0.as_ptr());
                (kind, sys::rd_kafka_event_message_next(event.0.as_ptr()))
            };
            if let Some(message) = NonNull::new(message.cast_mut()).filter(|_| kind == sys::RD_KAFKA_EVENT_FETCH) {
                return Some(Ok(FetchedRecord { message, _event: event, _client: PhantomData }));
            }
            // SAFETY: the event is alive, and so is its text, which ends in NUL.
            let (code, fatal, reason) = unsafe {
                let code = sys::rd_kafka_event_error(event.0.as_ptr());
                let reason = sys::rd_kafka_event_error_string(event.0.as_ptr());
                let reason = if reason.is_null() { Cow::default() } else { CStr::from_ptr(reason).to_string_lossy() };
                (code, sys::rd_kafka_event_error_is_fatal(event.0.as_ptr()) != 0, reason)
            };
            // The end of a partition is no error, and told only where it is asked for.
            if matches!(code, Code::RD_KAFKA_RESP_ERR_NO_ERROR | Code::RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                continue;
            }
            client.context().error(NativeError::Global(code.into()), &reason);
            let error = if fatal { NativeError::MessageConsumptionFatal } else { NativeError::MessageConsumption };
            return Some(Err(error(code.into())));
        }
    }

    /// The same for a task, which is woken when there is one.
    pub fn poll_pop<'c>(
        &self,
        client: &'c Client,
        context: &Context<'_>,
    ) -> Poll<Result<FetchedRecord<'c>, NativeError>> {
        if let Some(next) = self.pop(client) {
            return Poll::Ready(next);
        }
        self.waker.register(context.waker());
        // It may have come before the waker was there.
        self.pop(client).map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for FetchedQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is ours and is not used any more. Librdkafka calls back under the queue's lock, so that nobody is
        // in the callback once it is taken away. What is left in the queue is thrown away with it.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

unsafe extern "C" fn wake(_client: *mut sys::rd_kafka_t, waker: *mut c_void) {
    // SAFETY: it is the waker of a queue that is alive, see `FetchedQueue::new`.
    unsafe { &*waker.cast_const().cast::<AtomicWaker>() }.wake();
}

/// An event of librdkafka that is destroyed when it is let go of.
struct Event(NonNull<sys::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is ours and destroyed once, here.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}

/// A record that librdkafka holds.
pub struct FetchedRecord<'c> {
    message: NonNull<sys::rd_kafka_message_t>,
    /// What the message is part of.
    _event: Event,
    _client: PhantomData<&'c ()>,
}

// SAFETY: a message belongs to nobody but its event, which belongs to this record.
unsafe impl Send for FetchedRecord<'_> {}
impl FetchedRecord<'_> {
    fn message(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: the message lives as long as its event.
        unsafe { self.message.as_ref() }
    }

    fn bytes(&self, start: *const c_void, length: usize) -> Option<&[u8]> {
        // SAFETY: librdkafka gives null, or `length` bytes that live as long as the message.
        (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) })
    }
}

impl RawRecord for FetchedRecord<'_> {
    fn topic(&self) -> &str {
        // SAFETY: a message holds on to its topic, whose name ends in NUL and never changes.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.message().rkt)) };
        // Kafka allows ASCII alone.
        name.to_str().unwrap_or_default()
    }
    fn partition(&self) -> i32 {
        self.message().partition
    }
    fn offset(&self) -> i64 {
        self.message().offset
    }
    fn key(&self) -> Option<&[u8]> {
        self.bytes(self.message().key, self.message().key_len)
    }
    fn value(&self) -> Option<&[u8]> {
        self.bytes(self.message().payload, self.message().len)
    }
    fn timestamp(&self) -> RecordTimestamp {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, and the out-pointer is valid for writes.
        let ms = unsafe { sys::rd_kafka_message_timestamp(self.message.as_ptr(), &raw mut kind) };
        match kind {
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME if ms != -1 => {
                RecordTimestamp { ms, kind: TimestampType::CreateTime }
            }
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME if ms != -1 => {
                RecordTimestamp { ms, kind: TimestampType::LogAppendTime }
            }
            _ => RecordTimestamp::default(),
        }
    }
    fn for_each_header<'r>(&'r self, visit: &mut HeaderVisitor<'r, '_>) {
        // SAFETY: the message lives as long as `self`, and this thread is the only one that reads it.
        unsafe { for_each_header(self.message.as_ptr(), visit) };
    }
}
