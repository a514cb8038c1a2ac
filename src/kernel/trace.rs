//! The names of what makes up a trace: spans, and what they say of themselves beside the names of the log.

/// The target of spans that are for traces only. Where nobody collects those, and the log is not at `trace`, such a span
/// costs next to nothing.
pub const TARGET: &str = "valetkey::traces";
/// A request that came in. The log has it, too.
pub const REQUEST: &str = "request";
/// A call to a provider.
pub const PROVIDER: &str = "provider";
/// How a request was answered.
pub const STATUS: &str = "status";
/// The caller's own span, as W3C's `traceparent` has it.
pub const CALLER: &str = "traceparent";

/// The trace and the span that a `traceparent` names.
pub fn parts(text: &str) -> Option<([u8; 16], [u8; 8])> {
    let mut parts = text.split('-').skip(1);
    let trace = super::encode::from_hex(parts.next()?)?.try_into().ok()?;
    let span = super::encode::from_hex(parts.next()?)?.try_into().ok()?;
    Some((trace, span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_names_a_trace_and_a_span() {
        let (trace, span) = parts("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!((trace[0], trace[15], span[1], span[7]), (0x4b, 0x36, 0xf0, 0xb7));
        for text in ["", "00-4bf9-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-01"] {
            assert!(parts(text).is_none(), "{text}");
        }
    }
}
