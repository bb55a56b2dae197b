//! What drills are given, where they are allowed. Fails nowhere; without the setting there are none.

use super::children::storm_limits;
use super::mappings;
use super::prepare::Prepared;
use crate::actors::drills::{Drills, Ground, Outage};
use crate::actors::supervisor::SupervisorHandle;
use crate::board::Board;
use crate::config::Config;
use crate::domain::drill::{DrillList, DrillRefused, DrillReport, DrillRequest};
use crate::http::DrillPort;
use crate::metrics::Metrics;
use std::sync::Arc;

/// The drills of this process. To be called on the runtime that they run on.
pub fn drills(
    config: &Config,
    prepared: &Prepared,
    supervisor: &SupervisorHandle,
    (board, metrics): (&Arc<Board>, &Metrics),
    outage: Option<Outage>,
) -> Option<Arc<dyn DrillPort>> {
    let faults = prepared.faults.as_ref()?;
    tracing::warn!("drills are allowed here (drills.enabled): whoever may send orders may break things on purpose");
    let kafka = Arc::new(config.kafka.clone());
    let ground = Ground {
        store: Arc::clone(&faults.real_store),
        lookup: Arc::clone(&prepared.lookup),
        supervisor: supervisor.addr.clone(),
        board: Arc::clone(board),
        metrics: metrics.clone(),
        store_faults: Arc::clone(&faults.store),
        client_faults: Arc::clone(&faults.clients),
        outage,
        kafka,
        mappings: Arc::new(mappings(config)),
        record_bytes: config.limits.record_bytes,
        publishes: config.dead_letters.publish,
        holds: Arc::clone(&prepared.holds),
        storm: storm_limits(&config.storm),
        stall_limit: config.watchdog.timeout,
        stamp: format!("{}-{:x}", board.identity().replica_id, board.started_at_ms()),
    };
    Some(Arc::new(Port(Drills::new(ground))))
}

/// What the HTTP server asks, asked of the drills.
struct Port(Drills);

impl DrillPort for Port {
    fn start(&self, request: &DrillRequest, actor: &str) -> Result<DrillReport, DrillRefused> {
        self.0.start(request, actor)
    }
    fn list(&self) -> DrillList {
        self.0.list()
    }
    fn report(&self, number: u64) -> Option<DrillReport> {
        self.0.report(number)
    }
}
