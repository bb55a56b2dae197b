//! Durations and sizes as people write them: `500ms`, `30s`, `5m`, `1h`; `128MB`, `2MiB`, `4096`.
//!
//! Owns the two syntaxes and their inverse. Durations are whole milliseconds up to a year, sizes whole bytes up to an
//! exbibyte; anything else is refused with a text that says what is expected. Pure.

use std::time::Duration;

/// Longest duration of a setting: past it a value is a slip, and librdkafka's 32-bit milliseconds are near.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Largest size of a setting, in bytes.
const LARGEST: u128 = 1 << 60;

/// Units of time, longest first, with their nanoseconds.
const TIMES: [(&str, u128); 4] =
    [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000)];

/// Units of size, largest first, with their bytes.
const SIZES: [(&str, u128); 6] =
    [("GiB", 1 << 30), ("GB", 1_000_000_000), ("MiB", 1 << 20), ("MB", 1_000_000), ("KiB", 1 << 10), ("KB", 1_000)];

/// Reads a duration such as `500ms`, `30s`, `1.5m`, `1h`, or a number of seconds.
///
/// # Errors
/// Says what is wrong with the text, without repeating it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "is not a duration";
    let (number, unit) = split_unit(text).ok_or(EXPECTED)?;
    let nanos = match unit {
        "" => 1_000_000_000,
        unit => TIMES.iter().find(|(name, _)| *name == unit).ok_or(EXPECTED)?.1,
    };
    let nanos = scaled(number, nanos).ok_or(EXPECTED)?;
    if nanos % 1_000_000 != 0 {
        return Err("is finer than a millisecond".into());
    }
    match u64::try_from(nanos / 1_000_000).map(Duration::from_millis) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        _ => Err("is longer than a year".into()),
    }
}

/// Writes a duration, in whole milliseconds, so that [`parse_duration`] reads it back.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".into();
    }
    let nanos = duration.as_millis() * 1_000_000;
    let (unit, size) = TIMES.into_iter().find(|(_, size)| nanos.is_multiple_of(*size)).unwrap_or(("ms", 1_000_000));
    format!("{}{unit}", nanos / size)
}

/// Reads a size such as `128MB` (decimal), `2MiB` (binary), or a number of bytes.
///
/// # Errors
/// Says what is wrong with the text, without repeating it.
pub fn parse_size(text: &str) -> Result<usize, String> {
    const EXPECTED: &str = "is not a size";
    let (number, unit) = split_unit(text).ok_or(EXPECTED)?;
    let unit = match unit {
        "" | "B" => 1,
        unit => SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or(EXPECTED)?.1,
    };
    match scaled(number, unit).ok_or("is not a whole number of bytes")? {
        bytes if bytes <= LARGEST => usize::try_from(bytes).map_err(|_| "is more than this machine can address".into()),
        _ => Err("is larger than 1 EiB".into()),
    }
}

/// Writes a size with the unit that needs the fewest digits, so that [`parse_size`] reads it back.
#[must_use]
pub fn format_size(bytes: usize) -> String {
    let bytes = bytes as u128;
    match SIZES.into_iter().filter(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)).max_by_key(|(_, unit)| *unit) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// Splits `1.5 MiB` into number and unit.
fn split_unit(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], text[end..].trim_start()))
}

/// The decimal `number` times `unit`, exactly; `None` for anything but digits with one point, and for a remainder.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // 20 digits hold any u64 and keep the products below within u128.
    if whole.is_empty() || fraction.is_empty() || whole.len() > 20 || fraction.len() > 12 || fraction.contains('.') {
        return None;
    }
    let power = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<u128>().ok()?.checked_mul(unit)?;
    if part % power != 0 {
        return None;
    }
    whole.parse::<u128>().ok()?.checked_mul(unit)?.checked_add(part / power)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed parse is the failure of the test")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_written_duration_reads_back_the_same(millis in 0..=31_536_000_000_u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn a_written_size_reads_back_the_same(bytes in 0..=(1_usize << 60), unit in 0..6_usize) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
            let round = (bytes >> 40) * usize::try_from(SIZES[unit].1).unwrap();
            prop_assert_eq!(parse_size(&format_size(round)), Ok(round));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC*", number in "[0-9.]{0,50}", unit in "[a-zA-Z]{0,3}") {
            let _ = (parse_duration(&text), parse_size(&text));
            let _ = (parse_duration(&format!("{number}{unit}")), parse_size(&format!("{number}{unit}")));
        }
    }

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("30", 30_000),
            ("0.25", 250),
            ("1.5m", 90_000),
            (" 2 s ", 2_000),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "s", "1.s", ".5s", "1.2.3s", "5 d", "-1s", "1e3", "30S", "0.1ms", "9999h", "99999999999999999999999s"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_every_unit() {
        for (text, bytes) in [
            ("128MB", 128_000_000),
            ("2MiB", 2 << 20),
            ("4096", 4096),
            ("1.5 KiB", 1536),
            ("7B", 7),
            ("1gb", 1_000_000_000),
            ("3GiB", 3 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "1M", "1.0001KB", "-4", "1TB", "0x10", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(format_size(128_000_000), "128MB");
        assert_eq!(format_size(2 << 20), "2MiB");
        assert_eq!(format_size(8 << 20), "8MiB");
    }
}
