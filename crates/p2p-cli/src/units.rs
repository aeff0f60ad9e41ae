//! Numbers as people write and read them.

use std::time::Duration;

/// `870 µs`, `12.3 ms`, `2.5 s`.
pub(crate) fn duration(of: Duration) -> String {
    let micros = of.as_secs_f64() * 1e6;
    if micros < 999.5 {
        format!("{micros:.0} µs")
    } else if micros < 999_950.0 {
        format!("{:.1} ms", micros / 1e3)
    } else {
        format!("{:.1} s", micros / 1e6)
    }
}

/// Milliseconds with three digits behind the point: the unit of ping and of every `_ms` key.
pub(crate) fn millis(of: Duration) -> f64 {
    (of.as_secs_f64() * 1e6).round() / 1e3
}

/// `17 bytes`, `1.5 KiB`, `64 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count == 1 {
        return "1 byte".to_owned();
    }
    if count < 1024 {
        return format!("{count} bytes");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = "KiB";
    for larger in UNITS.into_iter().skip(1) {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    let text = format!("{value:.1}");
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// `312.5 MiB/s`: so many bytes in so much time.
pub(crate) fn rate(count: u64, took: Duration) -> String {
    format!("{}/s", bytes(per_second(count, took)))
}

/// Bytes a second.
pub(crate) fn per_second(count: u64, took: Duration) -> u64 {
    (count as f64 / took.as_secs_f64().max(1e-9)) as u64
}

/// Reads `65536`, `64KiB`, `64k`, `1 MB`, `1.5GiB`. `k`, `m`, `g` alone are powers of 1024.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err("not a size: write it like 65536, 64KiB or 1.5MB".to_owned()),
    };
    let value: f64 = number
        .parse()
        .map_err(|_| "not a size: write it like 65536, 64KiB or 1.5MB".to_owned())?;
    let total = value * factor as f64;
    if total > MAX_BYTES as f64 {
        return Err(format!("more than {}", bytes(MAX_BYTES)));
    }
    Ok(total as u64)
}

/// Reads seconds, with a fraction if need be: `0.2`, `10`. Above zero, at most a day.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds, such as 0.5 or 10".to_owned())?;
    if seconds > 0.0 && seconds <= 86_400.0 {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be above 0 and at most 86400 seconds".to_owned())
    }
}

/// The most that can be asked for: 1 TiB. Far below where an `f64` loses bytes.
const MAX_BYTES: u64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_keep_one_digit_and_change_unit_before_it_overflows() {
        for (nanos, text) in [
            (0, "0 µs"),
            (870_000, "870 µs"),
            (999_499, "999 µs"),
            (999_600, "1.0 ms"),
            (12_340_000, "12.3 ms"),
            (999_960_000, "1.0 s"),
            (2_500_000_000, "2.5 s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos)), text);
        }
        assert_eq!(millis(Duration::from_nanos(1_234_567)), 1.235);
    }

    #[test]
    fn sizes_read_as_they_are_written() {
        for (count, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1 MiB"),
            (64 << 20, "64 MiB"),
            (1 << 40, "1 TiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        for (text, count) in [
            ("0", 0),
            ("65536", 65536),
            ("64KiB", 65536),
            ("64k", 65536),
            ("1 MB", 1_000_000),
            ("1.5GiB", 3 << 29),
        ] {
            assert_eq!(parse_bytes(text), Ok(count), "{text}");
        }
        for wrong in ["", "MiB", "-1", "1.2.3", "12 parsecs", "2000000000000000"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_above_zero_and_at_most_a_day() {
        assert_eq!(parse_seconds("0.2"), Ok(Duration::from_millis(200)));
        for wrong in ["0", "-1", "NaN", "inf", "1e9", "soon"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,20}") {
            let _ = (parse_bytes(&text), parse_seconds(&text));
        }
    }
}
