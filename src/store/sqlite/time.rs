//! Times as the text that the tables hold: RFC 3339 in UTC with six decimals.
//!
//! Pure. Years 1 to 9999, which decoding guarantees; a time outside is written as the nearest one inside.

use chrono::{DateTime, Datelike, Timelike, Utc};

/// Microseconds since the epoch, as text.
pub(super) fn text_of_us(us: i64) -> String {
    // 0001-01-01 and the last microsecond of 9999.
    let us = us.clamp(-62_135_596_800_000_000, 253_402_300_799_999_999);
    let t = DateTime::from_timestamp_micros(us).unwrap_or_default();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        t.year(),
        t.month(),
        t.day(),
        t.hour(),
        t.minute(),
        t.second(),
        t.nanosecond() / 1_000
    )
}

/// Now, as text.
pub(super) fn now() -> String {
    text_of_us(Utc::now().timestamp_micros())
}

/// The minute that `now` lies in.
pub(super) fn minute_of(now: &str) -> String {
    format!("{}:00.000000Z", &now[..16])
}

/// Milliseconds since the epoch of a text that [`text_of_us`] made.
pub(super) fn ms_of_text(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).map_or(0, |time| time.timestamp_millis())
}

/// Microseconds since the epoch of a text that [`text_of_us`] made.
pub(super) fn us_of_text(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).map_or(0, |time| time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_come_back_and_sort_as_text(
            a in -62_135_596_800_000_000_i64..253_402_300_799_999_000,
            b in -62_135_596_800_000_000_i64..253_402_300_799_999_000,
        ) {
            let (x, y) = (text_of_us(a), text_of_us(b));
            prop_assert_eq!(ms_of_text(&x), a.div_euclid(1_000));
            prop_assert_eq!(us_of_text(&x), a);
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }
    }

    #[test]
    fn a_minute_is_a_time_too() {
        assert_eq!(minute_of(&text_of_us(61_500_000)), "1970-01-01T00:01:00.000000Z");
    }
}
