//! What must hold in the end: every partition is stored to its end, and everything tiles.

use crate::log::value;
use crate::world::World;
use rand::Rng;
use std::collections::BTreeSet;

impl World {
    /// Whether every partition is stored to the end of its log; one whose row was made to differ stops there.
    pub fn is_stored(&self) -> bool {
        self.logs.keys().all(|partition| self.is_stored_whole(*partition) || self.is_stopped(*partition))
    }

    fn is_stored_whole(&self, partition: i32) -> bool {
        let stored = self.server.progress.get(&partition).map(|progress| progress.next_offset);
        stored == Some(self.logs[&partition].end())
    }

    fn is_stopped(&self, partition: i32) -> bool {
        let stored = self.server.progress.get(&partition).map(|progress| progress.next_offset);
        self.tampered.get(&partition).is_some_and(|at| stored.is_some_and(|stored| stored <= *at))
    }

    /// The partitions that are stopped, of those that the members of a process hold.
    pub fn stopped_in(&self, process: usize) -> BTreeSet<i32> {
        let stopped = self.logs.keys().filter(|partition| !self.is_stored_whole(**partition));
        stopped.copied().filter(|partition| self.holds(process, *partition)).collect()
    }

    /// Whether a member of the process holds the partition.
    pub fn holds(&self, process: usize, partition: i32) -> bool {
        let member = self.group.holder.get(&partition).and_then(|member| self.group.members.get(member));
        member.is_some_and(|member| member.process == process)
    }

    pub fn not_stored(&mut self) {
        let partitions: Vec<i32> = self.logs.keys().copied().collect();
        for partition in partitions {
            if !self.is_stored_whole(partition) && !self.is_stopped(partition) {
                let (end, progress) = (self.logs[&partition].end(), self.server.progress.get(&partition).copied());
                let holder = self.group.holder.get(&partition).copied();
                let fetch = holder.map(|member| format!("{:?}", self.group.members[&member].fetches.get(&partition)));
                self.violated(format!(
                    "a partition does not reach its end: partition {partition} ends at {end}, {progress:?}, held by {holder:?}, {fetch:?}"
                ));
            }
        }
    }

    /// Sets a position back, as a restored backup does; `tamper` makes a stored row differ.
    pub fn rewind(&mut self, tamper: bool) {
        let partitions: Vec<i32> = self.server.progress.keys().copied().collect();
        if partitions.is_empty() {
            return;
        }
        let partition = partitions[self.rng.random_range(0..partitions.len())];
        let progress = self.server.progress[&partition];
        // Whoever moves it now holds its lock.
        self.server.end_blockers(0, &[partition]);
        let to = self.rng.random_range(progress.first_offset..=progress.next_offset);
        if tamper {
            let row = self.server.rows.range_mut((partition, to)..(partition, progress.next_offset)).next();
            let Some(((_, offset), row)) = row else {
                return;
            };
            *row = b"another document".to_vec();
            let offset = *offset;
            self.tampered.entry(partition).and_modify(|at| *at = offset.min(*at)).or_insert(offset);
        }
        self.server.progress.get_mut(&partition).unwrap().next_offset = to;
        let below = self.server.reread_below.entry(partition).or_insert(0);
        *below = progress.next_offset.max(*below);
        self.tell(|| format!("partition {partition} is set back from {} to {to}", progress.next_offset));
    }

    pub fn wake_members(&mut self) {
        for member in self.group.members.values() {
            member.woken.notify_one();
        }
    }
}

/// Looks at all that is stored.
pub fn audit(world: &mut World) {
    for (partition, log) in world.logs.clone() {
        let Some(progress) = world.server.progress.get(&partition).copied() else {
            continue;
        };
        if progress.first_offset != log.first {
            world.violated(format!(
                "a partition starts at the wrong place: {partition} at {progress:?}, its log at {}",
                log.first
            ));
        }
        world.look_at(partition, progress.first_offset, progress.next_offset);
        if let Some(at) = world.tampered.get(&partition).copied()
            && progress.next_offset > at
        {
            world.violated(format!("a row that differs was passed: partition {partition} offset {at}, {progress:?}"));
        }
        if !world.server.reread_below.contains_key(&partition) {
            let behind = |(p, offset): &(i32, i64)| *p == partition && *offset >= progress.next_offset;
            if world.server.rows.keys().any(behind) || world.server.letters.keys().any(behind) {
                world.violated(format!(
                    "something is stored ahead of the position: partition {partition}, {progress:?}"
                ));
            }
        }
    }
    let stray: Vec<_> = world
        .server
        .rows
        .iter()
        .filter(|((p, offset), row)| {
            !world.tampered.contains_key(p)
                && world
                    .logs
                    .get(p)
                    .and_then(|log| log.at(*offset))
                    .is_none_or(|entry| value(*p, *offset, entry) != **row)
        })
        .map(|(at, _)| *at)
        .collect();
    if !stray.is_empty() {
        world.violated(format!("rows that no record made: {stray:?}"));
    }
    let ahead: Vec<_> = world
        .commits
        .offsets
        .iter()
        .filter(|(partition, committed)| {
            world.server.highest.get(partition).is_none_or(|highest| committed.offset > *highest)
        })
        .map(|(partition, committed)| (*partition, committed.offset))
        .collect();
    if !ahead.is_empty() {
        world.violated(format!("the hint is ahead of the store: {ahead:?} in the end"));
    }
}
