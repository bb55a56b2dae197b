//! Whether rows, dead letters and gaps tile a range of offsets: the decision of the audit, apart from any database.
//!
//! Pure. Takes runs of consecutive offsets, as a database finds them with a window function; memory follows their number,
//! which is at most the number of offsets in the range.

use super::RangeContent;
use crate::domain::audit::{Gap, GapReason};

/// Unaccounted ranges that are listed; the rest is only counted.
pub const MAX_LISTED: usize = 100;

/// What a run of offsets consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileKind {
    /// Rows of `events`.
    Rows,
    /// Dead letters.
    DeadLetters,
    /// A range without either, and why.
    Gap(GapReason),
}

/// A run of consecutive offsets `[first, next)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// What it consists of.
    pub kind: TileKind,
    /// First offset.
    pub first: i64,
    /// First offset behind it.
    pub next: i64,
}

/// What `tiles`, in any order, make of the range `[first, next)`. Parts of tiles outside the range are cut off.
#[must_use]
pub fn content(tiles: &[Tile], first: i64, next: i64) -> RangeContent {
    let mut content = RangeContent::default();
    let mut edges = Vec::with_capacity(tiles.len() * 2);
    for tile in tiles {
        let (from, to) = (tile.first.max(first), tile.next.min(next));
        if from >= to {
            continue;
        }
        match tile.kind {
            TileKind::Rows => content.rows += to - from,
            TileKind::DeadLetters => content.dead_letters += to - from,
            TileKind::Gap(reason) => {
                content.gap_offsets += to - from;
                content.gaps.push(Gap { first: from, next: to, reason });
            }
        }
        edges.push((from, 1_i32));
        edges.push((to, -1));
    }
    edges.sort_unstable();
    let (mut at, mut depth) = (first, 0);
    // The end of the range closes the sweep like any other edge.
    for (edge, delta) in edges.into_iter().chain(std::iter::once((next, 0))) {
        if edge > at {
            match depth {
                0 => {
                    content.unaccounted_offsets += edge - at;
                    if content.unaccounted.len() < MAX_LISTED {
                        content.unaccounted.push((at, edge));
                    }
                }
                1 => {}
                _ => {
                    content.overlapping += edge - at;
                    content.first_overlapping.get_or_insert(at);
                }
            }
            at = edge;
        }
        depth += delta;
    }
    content
}

/// The parts of `[first, next)` that no tile covers, in order.
#[must_use]
pub fn uncovered(tiles: &[Tile], first: i64, next: i64) -> Vec<(i64, i64)> {
    let mut sorted: Vec<_> = tiles.iter().map(|tile| (tile.first, tile.next)).collect();
    sorted.sort_unstable();
    let (mut at, mut parts) = (first, Vec::new());
    for (from, to) in sorted {
        if from > at && at < next {
            parts.push((at, from.min(next)));
        }
        at = at.max(to);
    }
    if at < next {
        parts.push((at, next));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tiles() -> impl Strategy<Value = Vec<Tile>> {
        let tile = (0_u8..3, -5_i64..45, 1_i64..8).prop_map(|(kind, first, len)| Tile {
            kind: [TileKind::Rows, TileKind::DeadLetters, TileKind::Gap(GapReason::Jump)][usize::from(kind)],
            first,
            next: first + len,
        });
        prop::collection::vec(tile, 0..20)
    }

    proptest! {
        #[test]
        fn the_sweep_agrees_with_counting_each_offset(tiles in tiles(), first in 0_i64..20, len in 0_i64..25) {
            let next = first + len;
            let mut expected = RangeContent::default();
            let mut alone = Vec::new();
            for tile in tiles.iter().filter(|tile| matches!(tile.kind, TileKind::Gap(_))) {
                let (from, to) = (tile.first.max(first), tile.next.min(next));
                if from < to {
                    expected.gaps.push(Gap { first: from, next: to, reason: GapReason::Jump });
                }
            }
            for offset in first..next {
                let covering: Vec<_> = tiles.iter().filter(|t| t.first <= offset && offset < t.next).collect();
                for tile in &covering {
                    match tile.kind {
                        TileKind::Rows => expected.rows += 1,
                        TileKind::DeadLetters => expected.dead_letters += 1,
                        TileKind::Gap(_) => expected.gap_offsets += 1,
                    }
                }
                if covering.len() > 1 {
                    expected.overlapping += 1;
                    expected.first_overlapping.get_or_insert(offset);
                }
                if covering.is_empty() {
                    alone.push(offset);
                }
            }
            expected.unaccounted_offsets = i64::try_from(alone.len()).expect("small");
            for &offset in &alone {
                match expected.unaccounted.last_mut() {
                    Some(last) if last.1 == offset => last.1 = offset + 1,
                    _ => expected.unaccounted.push((offset, offset + 1)),
                }
            }
            prop_assert_eq!(uncovered(&tiles, first, next), expected.unaccounted.clone());
            prop_assert_eq!(content(&tiles, first, next), expected);
        }
    }

    #[test]
    fn a_range_to_the_end_of_all_offsets_does_not_overflow() {
        let tile = Tile { kind: TileKind::Rows, first: 5, next: 7 };
        let content = content(&[tile], 3, i64::MAX);
        assert_eq!((content.rows, content.unaccounted[0]), (2, (3, 5)));
    }

    #[test]
    fn only_the_first_unaccounted_ranges_are_listed_but_all_are_counted() {
        let tiles: Vec<_> = (0..200).map(|i| Tile { kind: TileKind::Rows, first: i * 2, next: i * 2 + 1 }).collect();
        let content = content(&tiles, 0, 400);
        assert_eq!((content.unaccounted.len(), content.unaccounted_offsets), (MAX_LISTED, 200));
    }
}
