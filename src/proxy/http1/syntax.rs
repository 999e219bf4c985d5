//! What can be wrong with the lines of a head or of a trailer section, for requests and responses alike.
//!
//! httparse says that a head is bad, not why; [`Syntax::classify`] looks again, only then.

/// A head, or a trailer section, that is not written as RFC 9112 sections 2.2 and 5 demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Syntax {
    /// A line that ends in LF alone.
    #[error("a line ends without CR")]
    BareLf,
    /// A CR that no LF follows.
    #[error("a CR stands alone")]
    BareCr,
    /// NUL or another control byte in a line.
    #[error("a control byte stands in a line")]
    ControlByte,
    /// A field continued on a second line (obs-fold).
    #[error("a field is folded over two lines")]
    Folded,
    /// White space before the first field (RFC 9112 section 2.2).
    #[error("white space stands before the first field")]
    LeadingSpace,
    /// White space between a field's name and its colon (RFC 9112 section 5.1).
    #[error("white space stands before a colon")]
    SpaceBeforeColon,
    /// A field line without a colon.
    #[error("a field has no colon")]
    NoColon,
    /// A field name that is empty or no token.
    #[error("a field's name is not a token")]
    FieldName,
}

impl Syntax {
    /// What is wrong with the field lines in `lines`, which httparse has refused (or which end in bare
    /// LF). `lines` starts after the start line; it may end in the middle of a line.
    pub(super) fn classify(lines: &[u8]) -> Self {
        let mut first = true;
        for line in lines.split_inclusive(|b| *b == b'\n') {
            if let Some(fault) = Self::of_line(line, first) {
                return fault;
            }
            first = false;
        }
        // httparse has refused what looks right to us: the last line may be cut short.
        Self::FieldName
    }

    /// What is wrong with one line, its line end included where it has one.
    fn of_line(line: &[u8], first: bool) -> Option<Self> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Some(if first {
                Self::LeadingSpace
            } else {
                Self::Folded
            });
        }
        let (content, bare_lf) = match line {
            // Or the CR of a line end whose LF has not come.
            [content @ .., b'\r', b'\n'] | [content @ .., b'\r'] => (content, false),
            [content @ .., b'\n'] => (content, true),
            content => (content, false),
        };
        if let Some(fault) = Self::of_bytes(content) {
            return Some(fault);
        }
        if bare_lf {
            return Some(Self::BareLf);
        }
        if content.is_empty() {
            return None;
        }
        let Some(colon) = memchr::memchr(b':', content) else {
            let complete = line.ends_with(b"\n");
            return complete.then_some(Self::NoColon);
        };
        let name = &content[..colon];
        if matches!(name.last(), Some(b' ' | b'\t')) {
            return Some(Self::SpaceBeforeColon);
        }
        (!super::head::is_token(name)).then_some(Self::FieldName)
    }

    /// A byte that no line may hold.
    fn of_bytes(content: &[u8]) -> Option<Self> {
        content.iter().find_map(|b| match b {
            b'\r' => Some(Self::BareCr),
            b'\t' => None,
            0..=0x1f | 0x7f => Some(Self::ControlByte),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_told_by_its_name() {
        for (lines, expected) in [
            (&b"A: b\nC: d\r\n\r\n"[..], Syntax::BareLf),
            (b"A: b\r\n\n", Syntax::BareLf),
            (b"A: b\rC: d\r\n\r\n", Syntax::BareCr),
            (b"A: b\0c\r\n\r\n", Syntax::ControlByte),
            (b"A: b\x7f\r\n\r\n", Syntax::ControlByte),
            (b"A: b\r\n c\r\n\r\n", Syntax::Folded),
            (b"A: b\r\n\tc\r\n\r\n", Syntax::Folded),
            (b" A: b\r\n\r\n", Syntax::LeadingSpace),
            (b"A : b\r\n\r\n", Syntax::SpaceBeforeColon),
            (b"A\t: b\r\n\r\n", Syntax::SpaceBeforeColon),
            (b"Ab\r\n\r\n", Syntax::NoColon),
            (b": b\r\n\r\n", Syntax::FieldName),
            (b"A(b): c\r\n\r\n", Syntax::FieldName),
            (b"A\xe4: c\r\n\r\n", Syntax::FieldName),
        ] {
            let text = String::from_utf8_lossy(lines);
            assert_eq!(Syntax::classify(lines), expected, "{text:?}");
        }
    }
}
