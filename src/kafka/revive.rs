//! Clients that librdkafka has left without any broker, and telling them of their brokers again.
//!
//! A broker that has just started can answer for a moment that the cluster has no brokers at all: a single KRaft node does
//! so until its controller lets it in. librdkafka (2.10 and newer) then forgets every broker and begins anew from its
//! configured list; but where its last broker thread ends before that answer is read to its end, reading on cancels the new
//! beginning, which counts as under way from then on. It stays so for good: consumers read nothing, producers send nothing,
//! and no error says it (confluentinc/librdkafka issue 5301). Each client has one thread that sleeps, looks at a flag, and acts only
//! after "all brokers are down" until a broker answers. It keeps no client alive and ends with its client.

use super::native;
use rdkafka::client::{Client, ClientContext};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Time between two looks, and the shortest between two revivals.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long a broker may take to answer before it counts as one that does not.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Revivals that follow one another quickly: a broker may say for some seconds that there is none.
const QUICK_REVIVALS: u32 = 20;
/// Time between later ones, which do not help for another reason, such as a login that is refused. Each costs librdkafka
/// the memory of one address list for the life of the client.
const LATER: Duration = Duration::from_secs(30);
/// Kafka's port where none is named.
const DEFAULT_PORT: u16 = 9092;

/// Set when all brokers are down, by the client's own report; cleared when one answers.
pub(super) type AllDown = Arc<AtomicBool>;

/// Looks after a client until it is dropped. `client_of` gives librdkafka's client of the value.
pub(super) fn look_after<T, C>(value: &Arc<T>, client_of: fn(&T) -> &Client<C>, all_down: AllDown, brokers: &str)
where
    T: Send + Sync + 'static,
    C: ClientContext + 'static,
{
    let (value, brokers) = (Arc::downgrade(value), brokers.to_owned());
    let watch = move || watch(&value, client_of, &all_down, &brokers);
    // Without the thread everything works but the revival, so a process that may start no more threads goes on.
    if let Err(error) = std::thread::Builder::new().name("kafka-revive".to_owned()).spawn(watch) {
        tracing::warn!(error = %error, "a Kafka client that loses its brokers will not be told of them again");
    }
}

fn watch<T, C: ClientContext>(value: &Weak<T>, client_of: fn(&T) -> &Client<C>, all_down: &AtomicBool, brokers: &str) {
    let mut revivals = 0;
    loop {
        std::thread::sleep(if revivals > QUICK_REVIVALS { LATER } else { LOOK_AGAIN });
        if !all_down.load(Ordering::Relaxed) {
            revivals = 0;
            if value.strong_count() == 0 {
                return;
            }
            continue;
        }
        // Held for this look only: whoever drops the client waits for it at most that long.
        let Some(value) = value.upgrade() else { return };
        // While nobody listens the client is left alone: a question would only make it try, and log, more often.
        if !listens(brokers) {
            revivals = 0;
            continue;
        }
        let client = client_of(&value);
        if native::has_brokers(client, ANSWER_TIMEOUT) {
            all_down.store(false, Ordering::Relaxed);
        } else {
            tracing::info!("brokers can be reached and the client does not ask them; telling it of them again");
            native::add_brokers(client, brokers);
            revivals += 1;
        }
    }
}

/// Whether anybody listens at one of the addresses.
fn listens(brokers: &str) -> bool {
    brokers.split(',').map(str::trim).filter(|broker| !broker.is_empty()).any(|broker| {
        let broker = broker.split_once("://").map_or(broker, |(_, address)| address);
        let has_port = broker.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let addresses = if has_port { broker.to_socket_addrs() } else { (broker, DEFAULT_PORT).to_socket_addrs() };
        addresses.is_ok_and(|mut all| all.any(|one| TcpStream::connect_timeout(&one, ANSWER_TIMEOUT).is_ok()))
    })
}

#[cfg(test)]
#[path = "revive_tests.rs"]
mod tests;
