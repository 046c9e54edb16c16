//! The `Range` header (RFC 9110 section 14): one range of bytes; anything else is answered with the whole.

/// What a range asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// Not a range we serve: several parts, other units, nonsense. RFC 9110 14.2: ignored.
    Whole,
    /// From and to, both included.
    Part(u64, u64),
    /// Outside.
    None,
}

/// Reads the header's value for something of `length` bytes.
pub(super) fn span(range: &str, length: u64) -> Span {
    let Some(said) = range.trim().strip_prefix("bytes=") else { return Span::Whole };
    let Some((from, to)) = said.trim().split_once('-') else { return Span::Whole };
    let number = |text: &str| {
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let last = length.saturating_sub(1);
    match (from.is_empty(), number(from), to.is_empty(), number(to)) {
        (true, _, false, Some(0)) => Span::None,
        (true, _, false, Some(_)) if length == 0 => Span::None,
        (true, _, false, Some(suffix)) => Span::Part(length - suffix.min(length), last),
        (false, Some(from), _, _) if from >= length => Span::None,
        (false, Some(from), true, _) => Span::Part(from, last),
        (false, Some(from), false, Some(to)) if to >= from => Span::Part(from, to.min(last)),
        _ => Span::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges() {
        for (range, expected) in [
            ("bytes=0-3", Span::Part(0, 3)),
            ("bytes=5-", Span::Part(5, 9)),
            ("bytes=-3", Span::Part(7, 9)),
            ("bytes=-99", Span::Part(0, 9)),
            ("bytes=0-99999999999999999999", Span::Part(0, 9)),
            ("bytes=10-", Span::None),
            ("bytes=-0", Span::None),
            ("bytes=3-1", Span::Whole),
            ("bytes=0-1,3-4", Span::Whole),
            ("items=0-1", Span::Whole),
            ("bytes=-", Span::Whole),
            ("bytes=a-b", Span::Whole),
        ] {
            assert_eq!(span(range, 10), expected, "{range}");
        }
        assert_eq!(span("bytes=0-", 0), Span::None);
    }

    proptest! {
        #[test]
        fn any_range_is_inside(text in "(bytes=)?[0-9-]{0,24}", length in 0u64..50) {
            if let Span::Part(from, to) = span(&text, length) {
                prop_assert!(from <= to && to < length, "{} {}", from, to);
            }
        }
    }
}
