//! Finds the ends of frames, of RESP2 and RESP3, and their kinds.
//!
//! The first byte alone decides what a frame is: a string is a string whatever it says, an array is
//! an array whatever it begins with, and only `>` is a push.

use std::fmt;

/// How deep arrays may be nested.
pub(crate) const DEPTH_MAX: usize = 128;

/// The bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The byte that begins no frame, if that is the reason.
    pub(crate) first: Option<u8>,
}

/// How the error begins.
pub(crate) const NOT_REDIS: &str = "the answer is not in the Redis protocol";

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NOT_REDIS)?;
        self.first.map_or(Ok(()), |byte| write!(f, ": no answer begins with the byte {byte:#04x}"))
    }
}

/// Finds the ends of frames in bytes that arrive in pieces. Looks at each byte once and skips the
/// contents of strings.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    line: Line,
    /// The first byte of the frame, after its attributes.
    kind: u8,
    /// How many bytes of a string are left, its CRLF included.
    skip: usize,
    /// How many frames are still expected at each depth.
    open: Vec<usize>,
}

/// What was read of the first line of a frame.
#[derive(Debug, Default)]
enum Line {
    /// Nothing.
    #[default]
    None,
    /// The line is the whole frame.
    Whole,
    /// A line with a number: the kind of the frame, the number, and whether it is negative.
    Count(u8, Option<usize>, bool),
}

impl Scanner {
    /// Reads up to the end of a frame. Returns how many of the bytes belong to it, or `None` if it
    /// continues after them.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        self.feed_lines(bytes, |_| {})
    }

    /// As [`feed`](Self::feed). Calls a function with the position of each byte that belongs to a
    /// line of text, such as an error, and is not ASCII.
    pub(crate) fn feed_lines(
        &mut self,
        bytes: &[u8],
        mut not_ascii: impl FnMut(usize),
    ) -> Result<Option<usize>, Malformed> {
        let mut at = 0;
        loop {
            let passed = self.skip.min(bytes.len().saturating_sub(at));
            (self.skip, at) = (self.skip.saturating_sub(passed), at.saturating_add(passed));
            if passed > 0 && self.skip == 0 && self.ended() {
                return Ok(Some(at));
            }
            let Some(byte) = bytes.get(at) else { return Ok(None) };
            if !byte.is_ascii() && matches!(self.line, Line::Whole) {
                not_ascii(at);
            }
            at = at.saturating_add(1);
            if self.next(*byte)? && self.ended() {
                return Ok(Some(at));
            }
        }
    }

    /// Returns whether no frame has begun that has not ended.
    #[cfg(any(test, feature = "redis-rs"))]
    pub(crate) fn is_between(&self) -> bool {
        self.skip == 0 && self.open.is_empty() && matches!(self.line, Line::None)
    }

    /// The first byte of the latest frame, after its attributes.
    pub(crate) fn kind(&self) -> u8 {
        self.kind
    }

    /// Reads a byte of a line. Returns whether a frame without parts has ended.
    fn next(&mut self, byte: u8) -> Result<bool, Malformed> {
        let malformed = Malformed { first: None };
        // Attributes are followed by the value they belong to, as the last part of their frame.
        let is_head =
            self.open.is_empty() || (self.kind == b'|' && self.open.iter().all(|left| *left == 1));
        if matches!(self.line, Line::None) && is_head {
            self.kind = byte;
        }
        match (&mut self.line, byte) {
            (Line::None, b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_') => self.line = Line::Whole,
            (Line::None, b'$' | b'!' | b'=' | b'*' | b'~' | b'>' | b'%' | b'|') => {
                self.line = Line::Count(byte, None, false);
            }
            (Line::None, _) => return Err(Malformed { first: Some(byte) }),
            (Line::Whole, b'\n') => {
                self.line = Line::None;
                return Ok(true);
            }
            (Line::Whole, _) => {}
            (Line::Count(_, None, is_negative @ false), b'-') => *is_negative = true,
            (Line::Count(_, Some(_), _), b'\r') => {}
            (Line::Count(kind, Some(count), is_negative), b'\n') => {
                let (kind, count) = (*kind, (!*is_negative).then_some(*count));
                self.line = Line::None;
                return self.begin(kind, count).ok_or(malformed);
            }
            (Line::Count(_, count, _), b'0'..=b'9') => {
                let longer = count.unwrap_or(0).checked_mul(10);
                *count = Some(
                    longer
                        .and_then(|c| c.checked_add(usize::from(byte - b'0')))
                        .ok_or(malformed)?,
                );
            }
            (Line::Count(..), _) => return Err(malformed),
        }
        Ok(false)
    }

    /// Begins what a line with a number announces. Returns whether it ends with the line, or `None`
    /// if it is malformed.
    fn begin(&mut self, kind: u8, count: Option<usize>) -> Option<bool> {
        let parts = match (kind, count) {
            // A negative length is nil, in RESP2.
            (b'$' | b'*', None) => return Some(true),
            (_, None) => return None,
            (b'$' | b'!' | b'=', Some(length)) => {
                self.skip = length.checked_add(2)?;
                return Some(false);
            }
            (b'%', Some(pairs)) => pairs.checked_mul(2)?,
            // The attributes, and the value they belong to.
            (b'|', Some(pairs)) => pairs.checked_mul(2)?.checked_add(1)?,
            (_, Some(count)) => count,
        };
        if parts == 0 {
            return Some(true);
        }
        self.open.push(parts);
        (self.open.len() <= DEPTH_MAX).then_some(false)
    }

    /// Ends a frame, and those whose last part it is. Returns whether all have ended.
    fn ended(&mut self) -> bool {
        while let Some(left) = self.open.last_mut() {
            *left = left.saturating_sub(1);
            if *left > 0 {
                return false;
            }
            self.open.pop();
        }
        true
    }
}
