//! Times as programs write them, `2026-01-02T03:04:05.678+00:00`, read without a general parser: almost every event has one.
//!
//! Pure. Reads the form that RFC 3339 describes with capital letters and leaves everything else, also what is wrong, to whoever
//! can say why. Cannot fail.

/// Microseconds since the epoch of a time in its plain form; `None` for every other text. What is smaller is cut off.
///
/// Plain is `YYYY-MM-DDTHH:MM:SS`, up to nine digits of a fraction, and `Z` or an offset `±HH:MM`; a leap second is not.
#[must_use]
pub fn plain_micros(text: &str) -> Option<i64> {
    let (date_time, rest) = text.as_bytes().split_at_checked(19)?;
    let two = |at: usize| digits(date_time.get(at..at + 2)?);
    for (at, sign) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        if date_time[at] != sign {
            return None;
        }
    }
    let (year, month, day) = (digits(&date_time[..4])?, two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (micros, zone) = match rest.split_first() {
        Some((b'.', rest)) => {
            let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&count) {
                return None;
            }
            let (fraction, zone) = rest.split_at(count);
            let kept = count.min(6);
            (digits(&fraction[..kept])? * 10_i64.pow(6 - u32::try_from(kept).ok()?), zone)
        }
        _ => (0, rest),
    };
    let offset_minutes = match zone {
        b"Z" => 0,
        &[sign @ (b'+' | b'-'), a, b, b':', c, d] => {
            let (hours, minutes) = (digits(&[a, b])?, digits(&[c, d])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + (minute - offset_minutes) * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar. Years begin in March here, so that the leap day is the last;
/// the days before a month are then (153 m + 2) / 5.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    /// From the March that year 0 begins with to the epoch.
    const EPOCH: i64 = 719_468;
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - EPOCH
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known(text: &str) -> Option<i64> {
        chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros())
    }

    #[test]
    fn what_is_not_plain_is_left_to_others() {
        for text in [
            "",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-01-02 03:04:05Z",
            "2026-01-02t03:04:05z",
            "2026-02-29T03:04:05Z",
            "2026-13-01T03:04:05Z",
            "2026-01-02T24:00:00Z",
            "2016-12-31T23:59:60Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05.1234567890Z",
            "2026-01-02T03:04:05+0000",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02T03:04:05\u{660}Z",
            "+026-01-02T03:04:05Z",
        ] {
            assert_eq!(plain_micros(text), None, "{text}");
        }
        assert_eq!(plain_micros("2024-02-29T23:59:59.999999999-23:59"), known("2024-02-29T23:59:59.999999999-23:59"));
    }

    proptest! {
        #[test]
        fn a_time_is_read_as_chrono_reads_it(
            (year, month, day) in (0..10_000_u32, 1..13_u32, 1..32_u32),
            (hour, minute, second) in (0..25_u32, 0..61_u32, 0..61_u32),
            fraction in "(\\.[0-9]{1,9})?",
            zone in "Z|[+-][0-2][0-9]:[0-5][0-9]",
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
            if let Some(micros) = plain_micros(&text) {
                prop_assert_eq!(Some(micros), known(&text));
            } else {
                // Only a leap second is read by chrono alone.
                prop_assert!(known(&text).is_none() || second == 60);
            }
        }
    }
}
