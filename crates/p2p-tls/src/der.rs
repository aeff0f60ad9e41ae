//! A walk over DER: definite lengths in their shortest form, one-byte tags, nothing left over.

use crate::CertificateError;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;

/// What is left to read.
#[derive(Clone, Copy)]
pub(crate) struct Der<'a>(&'a [u8]);

/// One value with its tag.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// Tag and length included.
    pub(crate) whole: &'a [u8],
}

impl<'a> Der<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next value.
    pub(crate) fn next(&mut self) -> Result<Element<'a>, CertificateError> {
        let element = split(self.0).ok_or(CertificateError::Malformed(
            "an element is cut short or not in DER",
        ))?;
        self.0 = self.0.get(element.whole.len()..).unwrap_or_default();
        Ok(element)
    }

    /// The next value if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, CertificateError> {
        match self.0.first() {
            Some(first) if *first == tag => self.next().map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// The next value, which must have this tag. `otherwise` says what is wrong if it has not.
    pub(crate) fn expect(
        &mut self,
        tag: u8,
        otherwise: &'static str,
    ) -> Result<Element<'a>, CertificateError> {
        match split(self.0) {
            Some(element) if element.tag == tag => self.next(),
            Some(_) | None => Err(CertificateError::Malformed(otherwise)),
        }
    }

    /// Checks that nothing is left.
    pub(crate) fn end(self, otherwise: &'static str) -> Result<(), CertificateError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(CertificateError::Malformed(otherwise))
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Element<'a> {
    /// What is inside.
    pub(crate) fn inside(self) -> Der<'a> {
        Der(self.content)
    }

    /// The bytes of a BIT STRING that has whole bytes only.
    pub(crate) fn bits(self) -> Result<&'a [u8], CertificateError> {
        match self.content.split_first() {
            Some((0, bits)) => Ok(bits),
            Some(_) | None => Err(CertificateError::Malformed(
                "a bit string does not end with a whole byte",
            )),
        }
    }
}

fn split(bytes: &[u8]) -> Option<Element<'_>> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (header, len) = match first {
        0..=0x7f => (2, usize::from(first)),
        0x81 => match usize::from(*rest.first()?) {
            len if len >= 0x80 => (3, len),
            _ => return None,
        },
        0x82 => match usize::from(u16::from_be_bytes(*rest.first_chunk()?)) {
            len if len > 0xff => (4, len),
            _ => return None,
        },
        // Nothing in a certificate that we read is longer than 64 KiB.
        _ => return None,
    };
    let whole = bytes.get(..header + len)?;
    let content = whole.get(header..)?;
    Some(Element {
        tag,
        content,
        whole,
    })
}

/// `parts` as one value. They must be shorter than 64 KiB.
pub(crate) fn encode(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let [high, low] = len.to_be_bytes();
    let mut bytes = vec![tag];
    match len {
        0..=0x7f => bytes.push(low),
        0x80..=0xff => bytes.extend([0x81, low]),
        0x100.. => bytes.extend([0x82, high, low]),
    }
    bytes.extend(content);
    bytes
}

/// Seconds since the Unix epoch of a UTCTime or GeneralizedTime.
pub(crate) fn unix_time(element: Element<'_>) -> Result<i64, CertificateError> {
    parse_time(element).ok_or(CertificateError::Malformed("a time in it is none"))
}

fn parse_time(element: Element<'_>) -> Option<i64> {
    let digits = element.content.strip_suffix(b"Z")?;
    let (year, rest) = match element.tag {
        UTC_TIME => {
            let (year, rest) = number(digits, 2)?;
            // RFC 5280 4.1.2.5.1: two digits are 1950 to 2049.
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => number(digits, 4)?,
        _ => return None,
    };
    let (month, rest) = number(rest, 2)?;
    let (day, rest) = number(rest, 2)?;
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest, 2)?;
    let (second, rest) = number(rest, 2)?;
    let sound = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61
        && (rest.is_empty() || is_fraction(element.tag, rest));
    sound.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Parts of a second: not in RFC 5280, but in the certificates of js-libp2p.
fn is_fraction(tag: u8, rest: &[u8]) -> bool {
    match rest.split_first() {
        Some((b'.', digits)) => {
            tag == GENERALIZED_TIME
                && (1..=9).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
        }
        Some(_) | None => false,
    }
}

fn number(digits: &[u8], len: usize) -> Option<(i64, &[u8])> {
    let (number, rest) = digits.split_at_checked(len)?;
    let mut value = 0;
    for digit in number {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        value = value * 10 + digit;
    }
    Some((value, rest))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that start in March have their leap day last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// A second of the Unix epoch as people write it.
pub(crate) fn date(unix: i64) -> String {
    let (day, second) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    // The inverse of `days`: every 400 years are alike, and start in March.
    let day = day + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (year * 365 + year / 4 - year / 100);
    let month = (day * 5 + 2) / 153;
    let day = day - (month * 153 + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (era * 400 + year, month + 3)
    } else {
        (era * 400 + year + 1, month - 9)
    };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_1970() {
        let at = |tag, text: &str| {
            let content = text.as_bytes();
            let whole = content;
            parse_time(Element {
                tag,
                content,
                whole,
            })
        };
        assert_eq!(at(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(at(UTC_TIME, "000229120000Z"), Some(951_825_600));
        assert_eq!(at(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(
            at(GENERALIZED_TIME, "40960101130000Z"),
            Some(67_090_165_200)
        );
        assert_eq!(at(GENERALIZED_TIME, "19691231235959Z"), Some(-1));
        assert_eq!(at(GENERALIZED_TIME, "19691231235959.232Z"), Some(-1));
        for wrong in [
            "70010100000Z",
            "701301000000Z",
            "7001010000000Z",
            "700101000000",
            "700101000000.5Z",
            "Z",
        ] {
            assert_eq!(at(UTC_TIME, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn dates_are_those_that_the_seconds_came_from() {
        for unix in [
            0,
            -1,
            951_782_399,
            951_782_400,
            4_107_542_399,
            67_090_165_200,
        ] {
            let text = date(unix);
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            let content = format!("{digits}Z").into_bytes();
            let element = Element {
                tag: GENERALIZED_TIME,
                content: &content,
                whole: &content,
            };
            assert_eq!(parse_time(element), Some(unix), "{text}");
        }
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(i64::MAX), "292277026596-12-04 15:30:07 UTC");
        let mut day = 0;
        for year in 1970..2470 {
            for month in 1..=12 {
                day = days(year, month, 1);
                let text = date(day * 86_400);
                assert_eq!(text, format!("{year:04}-{month:02}-01 00:00:00 UTC"));
                let text = date(day * 86_400 - 1);
                assert!(text.ends_with(" 23:59:59 UTC"), "{text}");
            }
        }
        assert!(day > 180_000);
    }

    #[test]
    fn only_the_shortest_form_of_a_length_is_der() {
        for (bytes, fits) in [
            (&[4, 1, 0][..], true),
            (&[4, 0x81, 1, 0], false),
            (&[4, 0x82, 0, 1, 0], false),
            (&[4, 0x80, 0, 0], false),
            (&[0x1f, 0x81, 0, 0], false),
            (&[4, 2, 0], false),
            (&[4], false),
            (&[], false),
        ] {
            assert_eq!(split(bytes).is_some(), fits, "{bytes:?}");
        }
    }
}
