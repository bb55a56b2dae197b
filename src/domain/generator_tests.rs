//! Good events decode, and each kind of broken one gets the code that it says.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::domain::decode::decode;
use crate::domain::event::Mapping;
use crate::domain::record::{RecordTimestamp, TimestampType};
use proptest::prelude::*;

fn mapping() -> Mapping {
    Mapping {
        event_type: "event_type".into(),
        user_id: "user_id".into(),
        element_id: "element_id".into(),
        timestamp: "timestamp".into(),
        required: vec!["event_type".into()],
        store_tombstones: false,
    }
}

const AT: RecordTimestamp = RecordTimestamp { ms: 5, kind: TimestampType::CreateTime };

proptest! {
    #[test]
    fn every_event_decodes_to_what_it_says(seed in any::<u64>(), bytes in 0_usize..9_000, ms in 0_i64..4_000_000_000_000) {
        let mut generator = EventGenerator::new(seed, bytes);
        for n in 0..3 {
            let event = generator.next_event(ms + n).clone();
            let decoded = decode(Some(&event.value), AT, &mapping());
            prop_assert!(decoded.is_ok(), "{:?}: {}", decoded, String::from_utf8_lossy(&event.value));
            let decoded = decoded.unwrap();
            prop_assert_eq!(decoded.event_type, event.event_type);
            prop_assert_eq!(&*decoded.user_id.unwrap(), event.user_id.as_str());
            prop_assert_eq!(&*decoded.element_id.unwrap(), event.element_id);
            prop_assert_eq!(decoded.occurred_at_us, Some((ms + n) * 1000));
            if bytes >= 200 {
                prop_assert_eq!(event.value.len(), bytes);
            }
        }
    }

    #[test]
    fn every_broken_event_gets_its_code(seed in any::<u64>(), bytes in 0_usize..2_000, ms in 0_i64..4_000_000_000_000) {
        let mut generator = EventGenerator::new(seed, bytes);
        for kind in PoisonKind::ALL {
            let (_, value) = generator.next_poison(kind, ms);
            let code = decode(value.as_deref(), AT, &mapping()).err().map(|rejection| rejection.code);
            match kind.expected_code() {
                // Only the database refuses it.
                DeadLetterCode::Database(_) => prop_assert_eq!(code, None),
                expected => prop_assert_eq!(code, Some(expected), "{:?}", kind),
            }
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_events(seed in any::<u64>()) {
        let (mut one, mut other) = (EventGenerator::new(seed, 240), EventGenerator::new(seed, 240));
        for n in 0..20 {
            prop_assert_eq!(one.next_event(n), other.next_event(n));
        }
let mut different = EventGenerator::new(!seed, 240);
        prop_assert_ne!(one.next_event(0), different.next_event(0));
    }
}

#[test]
fn types_and_users_come_in_realistic_shares() {
    assert_eq!(TYPES.iter().map(|(_, share, _)| share).sum::<u32>(), 100);
    let mut generator = EventGenerator::new(1, DEFAULT_EVENT_BYTES);
    let (mut views, mut busy) = (0, 0);
    for _ in 0..10_000 {
        let event = generator.next_event(0);
        views += u32::from(event.event_type == "page_view");
        busy += u32::from(event.user_id.as_str() <= "user_0250");
    }
    assert!((3_700..4_300).contains(&views), "{views}");
    assert!((4_700..5_300).contains(&busy), "a quarter of the users makes half of the events: {busy}");
}
