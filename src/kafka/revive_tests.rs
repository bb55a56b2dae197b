//! A client that is told that its cluster has no brokers, by a broker of the test's own that speaks the two oldest requests.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::kafka::client::LoggingContext;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);

/// A client that asks for brokers does so several times in this time.
const QUIET: Duration = Duration::from_secs(4);

/// Answers without brokers after which a client asks on for good.
const ASKS_ON: usize = 5;

/// Long, because librdkafka reserves memory by the size of the answer, and too little for a very short one.
const TOPIC: &str =
    "a-topic-with-a-long-name-a-topic-with-a-long-name-a-topic-with-a-long-name-a-topic-with-a-long-name";

/// Enough to keep the client busy for some hundredths of a second.
const MANY_TOPICS: i32 = 50_000;

/// A broker that answers Metadata, and nothing else: with itself, or with no brokers at all.
struct EmptyHanded {
    port: u16,
    forgets: AtomicBool,
    /// Answers that named no broker, and answers that named this one.
    empty: AtomicUsize,
    whole: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
}

impl EmptyHanded {
    fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let broker = Arc::new(Self {
            port: listener.local_addr().unwrap().port(),
            forgets: AtomicBool::new(false),
            empty: AtomicUsize::new(0),
            whole: AtomicUsize::new(0),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&broker);
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                accepting.connections.lock().unwrap().push(connection.try_clone().unwrap());
                let serving = Arc::clone(&accepting);
                std::thread::spawn(move || serving.serve(connection));
            }
        });
        broker
    }

    /// As a restart does.
    fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }

    fn serve(&self, mut connection: TcpStream) {
        let mut size = [0; 4];
        while connection.read_exact(&mut size).is_ok() {
            let mut request = vec![0; usize::try_from(u32::from_be_bytes(size)).unwrap()];
            if connection.read_exact(&mut request).is_err() {
                return;
            }
            // The version is always 0: the client is told to expect an old broker.
            let mut answer = request[4..8].to_vec();
            let forgets = self.forgets.load(Ordering::SeqCst);
            if !forgets {
                answer.extend(1_i32.to_be_bytes());
                answer.extend(1_i32.to_be_bytes());
                answer.extend(9_i16.to_be_bytes());
                answer.extend(b"127.0.0.1");
                answer.extend(i32::from(self.port).to_be_bytes());
            } else {
                answer.extend(0_i32.to_be_bytes());
            }
            // Topics that do not exist; without brokers so many that the client still reads of them when its last broker
            // has gone. At the end it takes back the rebootstrap that this began, and believes for ever that one is under
            // way.
            let topics = if forgets { MANY_TOPICS } else { 1 };
            answer.extend(topics.to_be_bytes());
            for number in 0..topics {
                let name = if number == 0 { TOPIC.to_owned() } else { format!("{TOPIC}-{number}") };
                answer.extend(5_i16.to_be_bytes());
                answer.extend(i16::try_from(name.len()).unwrap().to_be_bytes());
                answer.extend(name.as_bytes());
                answer.extend(0_i32.to_be_bytes());
            }
            let size = u32::try_from(answer.len()).unwrap().to_be_bytes();
            if connection.write_all(&[size.as_slice(), &answer].concat()).is_err() {
                return;
            }
            if forgets { &self.empty } else { &self.whole }.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Forgets all brokers, as one that restarts does, and looks whether the client falls silent or asks on.
fn asks_no_more(broker: &EmptyHanded) -> bool {
    let before = broker.empty.load(Ordering::SeqCst);
    broker.forgets.store(true, Ordering::SeqCst);
    broker.cut();
    until("an answer without brokers", || broker.empty.load(Ordering::SeqCst) > before);
    let (mut answered, mut since) = (0, Instant::now());
    until("the client to ask on, or no more", || {
        let now = broker.empty.load(Ordering::SeqCst) - before;
        if now != answered {
            (answered, since) = (now, Instant::now());
        }
        answered > ASKS_ON || since.elapsed() > QUIET
    });
    answered <= ASKS_ON
}

#[test]
fn a_client_that_was_told_of_no_brokers_finds_them_again() {
    let broker = EmptyHanded::start();
    let brokers = format!("127.0.0.1:{}", broker.port);
    let context = LoggingContext::new("test");
    let all_down = context.all_down();
    let producer: ThreadedProducer<LoggingProducer> = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .set("api.version.request", "false")
        .set("broker.version.fallback", "0.9.0")
        .set("reconnect.backoff.max.ms", "100")
        // Nothing but the revival may bring it back.
        .set("topic.metadata.refresh.interval.ms", "-1")
        .create_with_context(LoggingProducer(context))
        .unwrap();
    let producer = Arc::new(producer);
    let client = producer.client();
    // A topic that it wants makes it ask for brokers as long as it knows any.
    producer.send(BaseRecord::<[u8], [u8]>::to(TOPIC).payload(b"v")).map_err(|(error, _)| error).unwrap();
    until("the broker to be known", || native::has_brokers(client, ANSWER_TIMEOUT));

    // Which of its threads is first decides whether an answer without brokers ends its asking: it is given one until it does.
    while !asks_no_more(&broker) {
        broker.forgets.store(false, Ordering::SeqCst);
        until("the broker to be known again", || native::has_brokers(client, ANSWER_TIMEOUT));
    }
    assert!(all_down.load(Ordering::Relaxed), "it does not say that all brokers are down");
    broker.forgets.store(false, Ordering::SeqCst);
    assert!(!native::has_brokers(client, QUIET), "it came back alone, so the revival is not tested");

    look_after(&producer, |producer| producer.client(), Arc::clone(&all_down), &brokers);
    until("the client to be told again", || !all_down.load(Ordering::Relaxed));
    assert!(native::has_brokers(client, ANSWER_TIMEOUT));
}

#[test]
fn addresses_are_read_as_librdkafka_reads_them() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(listens(&format!("{silent}, PLAINTEXT://localhost:{port}")));
    assert!(!listens(&silent.to_string()));
    assert!(!listens(""));
}

/// A producer needs a context of its own.
struct LoggingProducer(LoggingContext);

impl ClientContext for LoggingProducer {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl rdkafka::producer::ProducerContext for LoggingProducer {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, (): ()) {}
}
