//! How each fault is made, and when it is over. Each is bounded in time; what does not come about is an error in words.

use super::ground::wait_for;
use super::kill::KillChild;
use super::run::Run;
use crate::actors::supervisor::RestartChild;
use crate::domain::batch::Batch;
use crate::domain::drill::DrillName;
use crate::domain::failure::FailureClass;
use crate::domain::hold::{HoldKind, HoldScope};
use crate::domain::status::{ChildStatus, ExitReason};
use crate::domain::storm::StormLimits;
use crate::kafka::faulty::ReadFault;
use crate::kafka::rebalance::TopicPartition;
use crate::kafka::visitor::visit;
use crate::store::WriteError;
use crate::store::faulty::{BatchFault, CaughtBatch};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long a batch, a dead letter or a restart is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How late the store of `db-slow` answers.
const SLOW: Duration = Duration::from_millis(400);
/// How long a visitor stays; the next one comes then.
const VISIT: Duration = Duration::from_secs(2);
/// Good and broken events of a burst.
const BURST: (u64, u64) = (500, 50);
/// Broken events for the dead-letter actor.
const LETTERS: u64 = 5;
/// Most broken events of a storm.
const MOST_POISON: u64 = 20_000;
/// How long a stall may go on beyond the time in which the watchdog must have found it.
const STALL_MARGIN: Duration = Duration::from_secs(15);

/// Makes the fault of a drill, and ends it.
pub(super) async fn inject(run: &Run) -> Result<(), String> {
    match run.name {
        DrillName::KillConsumer => kill_consumer(run).await,
        DrillName::PanicConsumer => panic_consumer(run).await,
        DrillName::StallConsumer => stall_consumer(run).await,
        DrillName::KillWriter => kill_writer(run).await,
        DrillName::PanicWriter => panic_writer(run).await,
        DrillName::PanicDeadLetter => panic_dead_letter(run).await,
        DrillName::PoisonBurst => poison_burst(run).await,
        DrillName::PoisonStorm => poison_storm(run).await,
        DrillName::DbDown => db_down(run).await,
        DrillName::DbSlow => db_slow(run).await,
        DrillName::BrokerDown => broker_down(run).await,
        DrillName::RebalanceStorm => rebalance_storm(run).await,
        DrillName::Zombie => zombie(run).await,
    }
}

/// The consumer that was named, or one that owns partitions.
fn consumer(run: &Run) -> Result<String, String> {
    let consumers = run.ground.board.consumers();
    let owner = consumers.iter().max_by_key(|consumer| consumer.partitions.len()).map(|consumer| consumer.id.clone());
    let chosen = run.consumer_id.clone().or(owner).ok_or("no consumer owns a partition")?;
    run.edit(|report| report.consumer_id = Some(chosen.clone()));
    Ok(chosen)
}

fn status(run: &Run, id: &str) -> Result<ChildStatus, String> {
    run.ground.child(id).ok_or_else(|| format!("there is no child {id:?}"))
}

/// Waits until a child was built again.
async fn rebuilt(run: &Run, id: &str, generation: u64) -> Result<ChildStatus, String> {
    wait_for!(
        format!("{id} to be built again"),
        PATIENCE,
        run.ground.child(id).filter(|child| child.generation > generation)
    )
}

async fn kill(run: &Run, id: &str) -> Result<(), String> {
    let killed = run.ground.supervisor.send(KillChild { id: id.to_owned() }).await;
    match killed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())? {
        true => Ok(()),
        false => Err(format!("{id} does not live now")),
    }
}

async fn kill_consumer(run: &Run) -> Result<(), String> {
    let id = consumer(run)?;
    let before = status(run, &id)?.generation;
    kill(run, &id).await?;
    run.step(format!("{id}: its task was aborted"));
    rebuilt(run, &id, before).await.map(drop)
}

async fn panic_consumer(run: &Run) -> Result<(), String> {
    let id = consumer(run)?;
    let before = status(run, &id)?.generation;
    let met = run.ground.client_faults.arm(&id, ReadFault::Panic);
    within("the consumer to read", PATIENCE, met).await?;
    let child = rebuilt(run, &id, before).await?;
    exited(run, &child, ExitReason::Panicked)
}

async fn stall_consumer(run: &Run) -> Result<(), String> {
    let limit = run.ground.stall_limit;
    let id = consumer(run)?;
    let before = status(run, &id)?.generation;
    let release = Arc::new(AtomicBool::new(false));
    let _released = SetOnDrop(Arc::clone(&release));
    let longest = limit * 2 + STALL_MARGIN;
    let met = run.ground.client_faults.arm(&id, ReadFault::Block(release, longest));
    within("the consumer to read", PATIENCE, met).await?;
    run.step(format!("{id}: its task is blocked"));
    let found = wait_for!(
        "the watchdog to find the stall",
        longest,
        run.ground.child(&id).filter(|child| child.last_exit.as_ref().is_some_and(|exit| exit.generation >= before))
    )?;
    exited(run, &found, ExitReason::Stalled)
}

/// Whether a child ended as it was meant to.
fn exited(run: &Run, child: &ChildStatus, wanted: ExitReason) -> Result<(), String> {
    let exit = child.last_exit.as_ref().ok_or_else(|| format!("{} has not ended", child.id))?;
    run.step(format!("{}: {}: {}", child.id, exit.reason.as_str(), exit.message));
    match exit.reason == wanted {
        true => Ok(()),
        false => Err(format!("{} ended as {}, not as {}", child.id, exit.reason.as_str(), wanted.as_str())),
    }
}

/// Lets the next batch meet a fault and waits for it.
async fn caught(run: &Run, fault: BatchFault) -> Result<CaughtBatch, String> {
    let catching = run.ground.store_faults.arm(fault, run.consumer_id.clone());
    within("a writer to take a batch", PATIENCE, catching).await
}

async fn kill_writer(run: &Run) -> Result<(), String> {
    for (fault, when) in [(BatchFault::HoldBefore, "before"), (BatchFault::HoldAfter, "after")] {
        let held = caught(run, fault).await?;
        let before = status(run, &held.writer)?.generation;
        kill(run, &held.writer).await?;
        run.step(format!("{}: aborted with {} records in hand, {when} its COMMIT", held.writer, held.batch.len()));
        rebuilt(run, &held.writer, before).await?;
    }
    Ok(())
}

async fn panic_writer(run: &Run) -> Result<(), String> {
    for fault in [BatchFault::PanicBefore, BatchFault::PanicAfter] {
        let generations: BTreeMap<String, u64> =
            run.ground.children().iter().map(|child| (child.id.clone(), child.generation)).collect();
        let held = caught(run, fault).await?;
        let before = generations.get(&held.writer).copied().unwrap_or_default();
        let child = rebuilt(run, &held.writer, before).await?;
        exited(run, &child, ExitReason::Panicked)?;
    }
    Ok(())
}

async fn panic_dead_letter(run: &Run) -> Result<(), String> {
    const ID: &str = "dead-letter";
    if !run.ground.publishes {
        return Err("dead letters are not published here (dead_letters.publish), so nobody is there to panic".into());
    }
    let before = status(run, ID)?.generation;
    run.ground.store_faults.panic_at_next_mark();
    run.load.burst(0, LETTERS, None).await?;
    let child = rebuilt(run, ID, before).await?;
    exited(run, &child, ExitReason::Panicked)?;
    wait_for!(
        "the dead letters to be published again",
        PATIENCE,
        run.ground.store.unpublished().await.ok().filter(|&waiting| waiting == 0)
    )
    .map(drop)
}

async fn poison_burst(run: &Run) -> Result<(), String> {
    run.load.burst(BURST.0, BURST.1, None).await?;
    run.step(format!("{} events were sent, {} of them broken", BURST.0 + BURST.1, BURST.1));
    Ok(())
}

async fn poison_storm(run: &Run) -> Result<(), String> {
    let StormLimits { consecutive, ratio, window, .. } = run.ground.storm;
    if consecutive == 0 && ratio == 0.0 {
        return Err("the storm guard is off here (storm.consecutive, storm.ratio)".to_owned());
    }
    // Enough for either limit, also when good events of others come between.
    let flood = (3 * u64::from(consecutive)).max(2 * window as u64).min(MOST_POISON);
    let mut owned = run.ground.board.consumers().into_iter().flat_map(|consumer| consumer.partitions);
    let target = owned.find(|partition| Some(&partition.topic) == run.ground.kafka.topics.first());
    let target = target.ok_or("no consumer owns a partition of the topic")?;
    let scope = HoldScope::Partition { topic: target.topic, partition: target.partition };
    run.load.burst(0, flood, Some(target.partition)).await?;
    let hold = wait_for!("the storm guard to put the partition into quarantine", PATIENCE, {
        let holds = run.ground.store.holds().await.unwrap_or_default();
        holds.into_iter().find(|hold| hold.scope == scope && hold.kind == HoldKind::Quarantined)
    })?;
    run.step(format!("{scope}: quarantined: {}", hold.reason));
    wait_for!("readiness to turn red", PATIENCE, (!run.ground.board.readiness().ready).then_some(()))?;
    run.ground.holds.release(&scope, HoldKind::Quarantined).await.map_err(|error| error.message)?;
    run.step(format!("{scope}: released"));
    Ok(())
}

async fn db_down(run: &Run) -> Result<(), String> {
    let trips = run.ground.board.breaker().trips;
    run.ground.store_faults.set_down(true);
    wait_for!("the breaker to open", PATIENCE, (run.ground.board.breaker().trips > trips).then_some(()))?;
    run.step("the store refuses everything; the breaker is open");
    tokio::time::sleep(run.seconds).await;
    Ok(())
}

async fn db_slow(run: &Run) -> Result<(), String> {
    run.ground.store_faults.set_delay(SLOW);
    run.step(format!("every call of the store takes {} ms longer", SLOW.as_millis()));
    tokio::time::sleep(run.seconds).await;
    Ok(())
}

async fn broker_down(run: &Run) -> Result<(), String> {
    run.ground.set_brokers_down(true).await?;
    run.step(match &run.ground.outage {
        Some(_) => "the embedded broker is down",
        None => "consumers read nothing and get no answers: an outage of the brokers as they see it",
    });
    tokio::time::sleep(run.seconds).await;
    run.ground.set_brokers_down(false).await
}

async fn rebalance_storm(run: &Run) -> Result<(), String> {
    let until = Instant::now() + run.seconds;
    let consumers: Vec<String> = run.ground.board.consumers().into_iter().map(|consumer| consumer.id).collect();
    let mut leaving = consumers.iter().cycle();
    let (mut visits, mut given) = (0, 0);
    while Instant::now() < until {
        let visiting = visit(&run.ground.kafka, VISIT);
        // Where there are no more partitions than consumers, only one that leaves makes a place for the visitor.
        let away = async {
            tokio::time::sleep(VISIT / 4).await;
            let id = leaving.next().cloned().ok_or("there is no consumer")?;
            let order = RestartChild { id, deadline: Instant::now() + PATIENCE };
            run.ground
                .supervisor
                .send(order)
                .await
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())
        };
        let (visited, restarted): (_, Result<(), String>) = tokio::join!(visiting, away);
        given += visited.map_err(|error| error.to_string())?;
        restarted?;
        visits += 1;
    }
    run.step(format!(
        "a further member joined and left {visits} times and was given {given} partitions; each time a consumer left, too"
    ));
    Ok(())
}

/// Whether everything in the batch is stored.
fn holds(positions: &BTreeMap<TopicPartition, i64>, batch: &Batch) -> bool {
    batch.advances().iter().all(|advance| {
        let id = TopicPartition { topic: advance.topic.clone(), partition: advance.partition };
        positions.get(&id).is_some_and(|&next| next >= advance.to)
    })
}

async fn zombie(run: &Run) -> Result<(), String> {
    let CaughtBatch { writer, consumer_id, batch, release } = caught(run, BatchFault::Freeze).await?;
    run.step(format!("{writer} froze with {} records of {consumer_id} in hand", batch.len()));
    run.edit(|report| report.consumer_id = Some(consumer_id.clone()));
    let before = status(run, &consumer_id)?.generation;
    kill(run, &consumer_id).await?;
    // The frozen writer's place in the pool is another's now: with a single writer nobody else could store the records.
    drop(release);
    rebuilt(run, &consumer_id, before).await?;
    wait_for!(
        "another generation to store the same records",
        PATIENCE * 2,
        run.ground.positions().await.is_ok_and(|positions| holds(&positions, &batch)).then_some(())
    )?;
    match run.ground.store.writer("drill-zombie").write(&batch).await {
        Err(WriteError::Store(error)) if error.class == FailureClass::Fenced => {
            run.step("the zombie woke, wrote its batch and lost the compare-and-swap");
            Ok(())
        }
        Err(WriteError::Store(error)) => {
            Err(format!("the zombie's batch failed, but not by its position: {}", error.message))
        }
        Err(WriteError::Differs { error, .. }) => {
            Err(format!("the zombie's batch was refused for a row that differs: {}", error.message))
        }
        Err(WriteError::Row { message, .. }) => Err(format!("the zombie's batch was refused for a row: {message}")),
        Ok(_) => {
            run.edit(|report| report.doubled = Some(1));
            Err("the zombie stored its batch: the compare-and-swap let it through".to_owned())
        }
    }
}

/// Waits for the other end of a channel.
async fn within<T>(what: &str, longest: Duration, receiver: tokio::sync::oneshot::Receiver<T>) -> Result<T, String> {
    match tokio::time::timeout(longest, receiver).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(format!("gave up waiting for {what}")),
        Err(_) => Err(format!("waited {} s in vain for {what}", longest.as_secs())),
    }
}

/// A flag that is set when whoever waits for it to be set goes away.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
