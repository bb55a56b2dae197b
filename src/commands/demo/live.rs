//! What a demo shows while it runs: in a terminal one live line per consumer, elsewhere a line every few seconds.

use crate::board::Board;
use crate::domain::status::ConsumerStatus;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Time between two frames of the live lines: rates are per second.
const FRAME: Duration = Duration::from_secs(1);
/// Time between two lines where nobody looks live.
const LINE: Duration = Duration::from_secs(5);

/// Shows consumers until it is dropped.
pub async fn show(board: Arc<Board>) {
    let terminal = std::io::stdout().is_terminal();
    let lines = Lines { bars: MultiProgress::new(), by_id: BTreeMap::new() };
    let mut lines = terminal.then_some(lines);
    let every = if terminal { FRAME } else { LINE };
    let mut tick = tokio::time::interval(every);
    let mut before: BTreeMap<String, u64> = BTreeMap::new();
    let mut last = Instant::now();
    loop {
        tick.tick().await;
        let seconds = last.elapsed().as_secs_f64().max(0.001);
        last = Instant::now();
        let mut all = (0, 0, 0);
        for consumer in board.consumers() {
            let earlier = before.insert(consumer.id.clone(), consumer.stored).unwrap_or(consumer.stored);
            let rate = (consumer.stored - earlier) as f64 / seconds;
            let lag: i64 = consumer.partitions.iter().filter_map(|partition| partition.lag).sum();
            all = (all.0 + consumer.stored, all.1 + consumer.dead_letters, all.2 + lag);
            if let Some(lines) = &mut lines {
                lines.set(&board, &consumer, rate, lag);
            }
        }
        if lines.is_none() {
            println!("{} stored, {} dead letters, {} behind", all.0, all.1, all.2);
        }
    }
}

struct Lines {
    bars: MultiProgress,
    by_id: BTreeMap<String, ProgressBar>,
}

impl Lines {
    fn set(&mut self, board: &Board, consumer: &ConsumerStatus, rate: f64, lag: i64) {
        let bars = &self.bars;
        let bar = self.by_id.entry(consumer.id.clone()).or_insert_with(|| {
            let bar = bars.add(ProgressBar::no_length());
            bar.set_style(ProgressStyle::with_template("  {prefix:<14} {msg}").expect("the template is well formed"));
            bar.set_prefix(consumer.id.clone());
            bar
        });
        let state =
            board.children().iter().find(|child| child.id == consumer.id).map_or("-", |child| child.state.as_str());
        bar.set_message(format!(
            "{state:<12} {rate:>7.0}/s  lag {lag:>6}  stored {:>9}  errors {:>6}",
            consumer.stored, consumer.dead_letters
        ));
        bar.tick();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        for bar in self.by_id.values() {
            bar.abandon();
        }
    }
}
