//! The load: a steady stream of events, each with an id of its own in its document, and the memory of what the brokers
//! confirmed. It goes on through every fault: while no broker answers, what is due waits in the producer.

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::ffi::CString;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

mod transactions;

/// After so long without a confirmation a producer is told of its brokers again.
const FORGOTTEN: Duration = Duration::from_secs(2);

/// What a record that was sent has to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// One row.
    Row,
    /// One dead letter, byte for byte.
    DeadLetter,
    /// Nothing: its transaction was aborted.
    Nothing,
    /// A row or nothing: compaction may have removed it before it was read, or not.
    Either,
    /// The brokers never confirmed it: what lies on the log decides.
    Unconfirmed,
}

impl Fate {
    /// As the table of the audit names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::DeadLetter => "dead_letter",
            Self::Nothing => "nothing",
            Self::Either => "either",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// A record that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: i64,
    pub partition: i32,
    pub offset: i64,
    pub fate: Fate,
    /// When the brokers said that they have it, in microseconds since the epoch.
    pub confirmed_us: Option<i64>,
    /// The bytes, for those that become dead letters.
    pub value: Option<Vec<u8>>,
}

/// What the events of a load are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Good,
    /// Each broken in some way.
    Poison,
    /// Good, and larger than drover takes: each a dead letter.
    Oversize,
    /// Good, in transactions of which every third is aborted.
    Transactions,
}

/// What a load sends.
#[derive(Debug, Clone)]
pub struct LoadSpec {
    pub brokers: String,
    pub topic: String,
    pub partitions: Range<i32>,
    /// Events a second.
    pub rate: u64,
    /// Ids from here on.
    pub first_id: i64,
    pub kind: Kind,
    /// Whether no two records have the same key.
    pub unique_keys: bool,
    /// Size of a document, in bytes.
    pub bytes: usize,
}

impl LoadSpec {
    /// 240-byte events.
    pub fn new(brokers: &str, topic: &str, partitions: Range<i32>, rate: u64) -> Self {
        Self {
            brokers: brokers.to_owned(),
            topic: topic.to_owned(),
            partitions,
            rate,
            first_id: 1,
            kind: Kind::Good,
            unique_keys: false,
            bytes: 240,
        }
    }

    fn value(&self, id: i64) -> Vec<u8> {
        if self.kind == Kind::Poison { poison(id) } else { document(id, self.bytes) }
    }

    fn key(&self, id: i64) -> String {
        if self.unique_keys { format!("key_{id}") } else { format!("user_{:04}", id % 1_000) }
    }

    fn partition(&self, id: i64) -> i32 {
        let partitions = i64::from(self.partitions.end - self.partitions.start);
        // Not the id alone: one kind of broken event would always be in one partition.
        let slot = (id.wrapping_mul(2_654_435_761) >> 8).rem_euclid(partitions);
        self.partitions.start + i32::try_from(slot).unwrap_or(0)
    }
}

/// A document with this id, about so many bytes long.
pub fn document(id: i64, bytes: usize) -> Vec<u8> {
    let mut document = format!(
        r#"{{"user_id":"user_{:04}","event_type":"button_click","element_id":"checkout_btn","timestamp":"2026-01-02T03:04:05.678+00:00","id":{id},"note":""#,
        id % 1_000
    )
    .into_bytes();
    // Letters that do not compress to nothing, made of the id.
    let mut state = u64::try_from(id).unwrap_or(0).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while document.len() + 2 < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        document.push(b'a' + u8::try_from(state % 26).unwrap_or(0));
    }
    document.extend_from_slice(b"\"}");
    document
}

/// A document that cannot be a row, in another way for each id.
pub fn poison(id: i64) -> Vec<u8> {
    // Only the database refuses this number. Each costs it a step of its own, hence fewer of them.
    if id % 64 == 63 {
        return format!(r#"{{"event_type":"click","id":{id},"n":1e200000}}"#).into_bytes();
    }
    match id % 7 {
        0 => format!(r#"{{"event_type":"click","id":{id}"#).into_bytes(),
        1 => format!(r#"["click",{id}]"#).into_bytes(),
        2 => format!(r#"{{"user_id":"u","id":{id}}}"#).into_bytes(),
        3 => format!(r#"{{"event_type":7,"id":{id}}}"#).into_bytes(),
        4 => format!(r#"{{"event_type":"click","timestamp":"yesterday","id":{id}}}"#).into_bytes(),
        5 => format!(r#"{{"event_type":"cl\u0000ick","id":{id}}}"#).into_bytes(),
        _ => [b"{\"event_type\":\"\xff\xfe\",\"id\":".as_slice(), id.to_string().as_bytes(), b"}"].concat(),
    }
}

/// The id after the last that was sent, and those whose transactions were aborted.
struct Ids {
    end: i64,
    aborted: Vec<Range<i64>>,
}

/// A load under way.
pub struct Load {
    spec: LoadSpec,
    rate: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
    sending: Option<JoinHandle<Ids>>,
    producer: Arc<ThreadedProducer<Deliveries>>,
}

/// What became of a load's records.
pub struct Outcome {
    pub sent: Vec<Sent>,
    /// Reasons for which records were not confirmed, first examples.
    pub errors: Vec<String>,
}

impl Load {
    pub fn start(spec: LoadSpec) -> Self {
        let producer = Arc::new(producer(&spec));
        let (rate, stopped) = (Arc::new(AtomicU64::new(spec.rate)), Arc::new(AtomicBool::new(false)));
        let sending = {
            let (spec, producer) = (spec.clone(), Arc::clone(&producer));
            let (rate, stopped) = (Arc::clone(&rate), Arc::clone(&stopped));
            std::thread::spawn(move || match spec.kind {
                Kind::Transactions => transactions::send(&spec, &producer, &rate, &stopped),
                _ => Ids { end: send(&spec, &producer, &rate, &stopped), aborted: Vec::new() },
            })
        };
        Self { spec, rate, stopped, sending: Some(sending), producer }
    }

    /// Records that the brokers have confirmed.
    pub fn confirmed(&self) -> usize {
        self.producer.context().delivered.lock().unwrap().len()
    }

    /// Goes on with so many events a second.
    pub fn set_rate(&self, rate: u64) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Sends no more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Ends it, and waits until every record is confirmed or given up. Blocks.
    pub fn finish(mut self) -> Outcome {
        self.stop();
        let ids = self.sending.take().and_then(|sending| sending.join().ok());
        let Ids { end, aborted } = ids.expect("the thread of a load does not panic");
        let flushed = self.producer.flush(Duration::from_secs(120));
        let context = self.producer.context();
        let delivered = std::mem::take(&mut *context.delivered.lock().unwrap());
        let mut errors = std::mem::take(&mut *context.errors.lock().unwrap());
        errors.extend(flushed.err().map(|error| format!("records were not confirmed in 120 s: {error}")));
        let mut confirmed = vec![false; usize::try_from(end - self.spec.first_id).unwrap_or(0)];
        let mut sent: Vec<Sent> = delivered
            .into_iter()
            .map(|Delivered { id, partition, offset, at_us }| {
                confirmed[usize::try_from(id - self.spec.first_id).unwrap()] = true;
                let fate = match self.spec.kind {
                    Kind::Good => Fate::Row,
                    Kind::Poison | Kind::Oversize => Fate::DeadLetter,
                    Kind::Transactions if aborted.iter().any(|ids| ids.contains(&id)) => Fate::Nothing,
                    Kind::Transactions => Fate::Row,
                };
                let value = (fate == Fate::DeadLetter).then(|| self.spec.value(id));
                Sent { id, partition, offset, fate, confirmed_us: Some(at_us), value }
            })
            .collect();
        let unconfirmed = (self.spec.first_id..end).zip(&confirmed).filter(|(_, confirmed)| !**confirmed);
        sent.extend(unconfirmed.map(|(id, _)| Sent {
            id,
            partition: -1,
            offset: -1,
            fate: Fate::Unconfirmed,
            confirmed_us: None,
            value: None,
        }));
        Outcome { sent, errors }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Looks after a producer that confirms nothing any more. librdkafka forgets all brokers for good when one that has just
/// started tells it that there are none; then it has to be told of them again.
struct Watch {
    confirmed: usize,
    since: Instant,
}

impl Watch {
    fn new() -> Self {
        Self { confirmed: 0, since: Instant::now() }
    }

    fn look(&mut self, spec: &LoadSpec, producer: &ThreadedProducer<Deliveries>) {
        let confirmed = producer.context().delivered.lock().unwrap().len();
        if confirmed != self.confirmed || producer.in_flight_count() == 0 {
            *self = Self { confirmed, since: Instant::now() };
        } else if self.since.elapsed() > FORGOTTEN {
            self.since = Instant::now();
            let brokers = CString::new(spec.brokers.as_str()).unwrap();
            // SAFETY: the producer lives for the whole call, and librdkafka copies the text.
            unsafe { rdkafka_sys::rd_kafka_brokers_add(producer.client().native_ptr(), brokers.as_ptr()) };
        }
    }
}

/// Sends what is due until told to stop; gives back the id after the last.
fn send(spec: &LoadSpec, producer: &ThreadedProducer<Deliveries>, rate: &AtomicU64, stopped: &AtomicBool) -> i64 {
    let mut id = spec.first_id;
    let mut last = Instant::now();
    let mut due = 0.0;
    let mut watch = Watch::new();
    while !stopped.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(5));
        due += last.elapsed().as_secs_f64() * rate.load(Ordering::Relaxed) as f64;
        last = Instant::now();
        watch.look(spec, producer);
        while due >= 1.0 && !stopped.load(Ordering::Relaxed) {
            let (key, value) = (spec.key(id), spec.value(id));
            let record = BaseRecord::with_opaque_to(&spec.topic, usize::try_from(id).unwrap_or(0));
            match producer.send(record.partition(spec.partition(id)).key(key.as_bytes()).payload(&value)) {
                Ok(()) => {
                    id += 1;
                    due -= 1.0;
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                Err((error, _)) => {
                    producer.context().errors.lock().unwrap().push(format!("event {id}: {error}"));
                    std::thread::sleep(Duration::from_millis(100));
                    break;
                }
            }
        }
    }
    id
}

fn producer(spec: &LoadSpec) -> ThreadedProducer<Deliveries> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &spec.brokers)
        .set("client.id", "faults-load")
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("message.max.bytes", (spec.bytes + 100_000).max(1_000_000).to_string())
        .set("queue.buffering.max.messages", "2000000")
        .set("queue.buffering.max.kbytes", "1000000")
        .set("reconnect.backoff.max.ms", "500");
    if spec.kind == Kind::Transactions {
        config.set("transactional.id", &spec.topic);
    }
    config.create_with_context(Deliveries::default()).unwrap()
}

/// A record that the brokers confirmed.
struct Delivered {
    id: i64,
    partition: i32,
    offset: i64,
    at_us: i64,
}

/// What the brokers confirmed.
#[derive(Default)]
struct Deliveries {
    delivered: Mutex<Vec<Delivered>>,
    errors: Mutex<Vec<String>>,
}

impl ClientContext for Deliveries {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, id: usize) {
        let id = i64::try_from(id).unwrap_or(0);
        match result {
            Ok(message) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let at_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
                let (partition, offset) = (message.partition(), message.offset());
                self.delivered.lock().unwrap().push(Delivered { id, partition, offset, at_us });
            }
            Err((error, _)) => {
                let mut errors = self.errors.lock().unwrap();
                if errors.len() < 10 {
                    errors.push(format!("event {id} was not confirmed: {error}"));
                }
            }
        }
    }
}
