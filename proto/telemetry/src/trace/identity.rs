//! Who a span is: trace and span in W3C's trace context, level 1 (https://www.w3.org/TR/trace-context/). Pure but for the
//! chance in fresh ids.

use std::fmt;

use uuid::Uuid;

const SAMPLED: u8 = 1;
/// The version that forbids what others may add.
const VERSION: u8 = 0;

/// Trace, span, and whether anybody keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Not 0.
    trace: u128,
    /// Not 0.
    span: u64,
    pub(super) is_sampled: bool,
}

impl Identity {
    /// The first span of a new trace.
    pub(super) fn fresh() -> Self {
        // A random UUID has 6 fixed bits, so that it is never 0.
        Self { trace: Uuid::new_v4().as_u128(), span: fresh_span(), is_sampled: true }
    }

    /// A new span in the same trace.
    pub(super) fn child(&self) -> Self {
        Self { span: fresh_span(), ..*self }
    }

    /// The same span in the trace of another one.
    pub(super) const fn in_trace_of(&self, parent: &Self) -> Self {
        Self { span: self.span, ..*parent }
    }

    /// Reads a `traceparent`; `None` when it is not one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = hexadecimal(version, 2)?;
        // A newer version may go on; 255 is forbidden.
        if version == 255 || (version == u128::from(VERSION) && parts.next().is_some()) {
            return None;
        }
        let trace = hexadecimal(trace, 32).filter(|trace| *trace > 0)?;
        let span = hexadecimal(span, 16).and_then(|span| u64::try_from(span).ok()).filter(|span| *span > 0)?;
        let flags = hexadecimal(flags, 2)?;
        Some(Self { trace, span, is_sampled: flags & u128::from(SAMPLED) > 0 })
    }

    /// The trace in hexadecimal digits.
    pub(crate) fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The span in hexadecimal digits.
    pub(crate) fn span_id(&self) -> String {
        format!("{:016x}", self.span)
    }
}

/// The `traceparent`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = if self.is_sampled { SAMPLED } else { 0 };
        write!(f, "{VERSION:02x}-{}-{}-{flags:02x}", self.trace_id(), self.span_id())
    }
}

fn fresh_span() -> u64 {
    // The lower half of a random UUID begins with two fixed bits, so that it is never 0.
    Uuid::new_v4().as_u64_pair().1
}

/// Exactly so many lower-case digits.
fn hexadecimal(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if text.len() != digits || !text.chars().all(is_digit) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_trace_context_is_read_as_the_standard_says() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let identity = Identity::parse(text).unwrap();
        assert!(identity.is_sampled);
        assert_eq!(identity.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(identity.span_id(), "b7ad6b7169203331");
        assert_eq!(identity.to_string(), text);
        assert!(!Identity::parse(&text.replace("-01", "-02")).unwrap().is_sampled, "only the last bit says so");
        assert!(Identity::parse(&format!("cc{}-what-comes", &text[2..])).is_some(), "a newer version may go on");
        for wrong in [
            "",
            "00",
            &text[..54],
            &format!("{text}-more"),
            &text.replace("00-", "ff-"),
            &text.to_uppercase(),
            &text.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            &text.replace("b7ad6b7169203331", "0000000000000000"),
            &text.replace("b7ad6b7169203331", "b7ad6b716920333"),
            &text.replace("-01", "-0x"),
            &text.replace("0af7", "+af7"),
        ] {
            assert_eq!(Identity::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_child_is_another_span_of_the_same_trace() {
        let parent = Identity::fresh();
        let child = parent.child();
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child.span_id(), parent.span_id());
        assert_ne!(Identity::fresh().trace_id(), parent.trace_id());
        let other = Identity { is_sampled: false, ..Identity::fresh() };
        let moved = child.in_trace_of(&other);
        assert_eq!((moved.trace_id(), moved.span_id()), (other.trace_id(), child.span_id()));
        assert!(!moved.is_sampled, "whether a trace is kept is decided where it begins");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader_and_what_it_reads_it_writes_again(text in "\\PC{0,60}|00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]") {
            if let Some(identity) = Identity::parse(&text) && text.starts_with("00") {
                prop_assert_eq!(identity.to_string(), text);
            }
        }
    }
}
