//! Frames of Redis' protocol, of its second version and its third: where one ends, and what it says.
//!
//! What a frame is stands in its first byte and nowhere else: a text is a text whatever it says, a list is a list whatever it
//! begins with, and only `>` is a push.

use crate::value::Value;
use bytes::Bytes;
use std::fmt;

/// How deep lists may lie in each other.
const DEPTH_MAX: usize = 128;

/// From this length on a text is a part of what was read, and no copy: a copy would cost more, and a short one would keep
/// all of the buffer alive.
const SHARED_MIN: usize = 4096;

/// What was read is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The byte that begins no frame, if it was that.
    pub(crate) first: Option<u8>,
}

/// How that is told.
pub(crate) const NOT_REDIS: &str = "what came is not of Redis' protocol";

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NOT_REDIS)?;
        self.first.map_or(Ok(()), |byte| write!(f, ": no answer begins with the byte {byte:#04x}"))
    }
}

/// Looks for the ends of frames in bytes that come in pieces, at each byte once; texts are passed over.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    line: Line,
    /// The first byte of the frame, of whatever is behind its attributes.
    kind: u8,
    /// What is left of a text, with the end of its line.
    skip: usize,
    /// How many frames are still to come, at each depth.
    open: Vec<usize>,
}

/// The line that begins a frame, as far as it has come.
#[derive(Debug, Default)]
enum Line {
    /// Nothing of it.
    #[default]
    None,
    /// One that is a whole frame.
    Whole,
    /// One with a number: its kind, the number, and whether it is negative.
    Count(u8, Option<usize>, bool),
}

impl Scanner {
    /// Goes on to the end of a frame. How many bytes belong to it; `None` if all do, and it has not ended yet.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut at = 0;
        loop {
            let passed = self.skip.min(bytes.len().saturating_sub(at));
            (self.skip, at) = (self.skip.saturating_sub(passed), at.saturating_add(passed));
            if passed > 0 && self.skip == 0 && self.ended() {
                return Ok(Some(at));
            }
            let Some(byte) = bytes.get(at) else { return Ok(None) };
            at = at.saturating_add(1);
            if self.next(*byte)? && self.ended() {
                return Ok(Some(at));
            }
        }
    }

    /// Whether nothing of a frame has come that has not ended.
    pub(crate) fn is_between(&self) -> bool {
        self.skip == 0 && self.open.is_empty() && matches!(self.line, Line::None)
    }

    /// The first byte of the last frame that has begun, or of what stands behind its attributes.
    pub(crate) fn kind(&self) -> u8 {
        self.kind
    }

    /// Reads a byte of a line. Returns whether a frame without parts has ended.
    fn next(&mut self, byte: u8) -> Result<bool, Malformed> {
        let malformed = Malformed { first: None };
        // What attributes belong to is the last part of their frame.
        let is_head = self.open.is_empty() || (self.kind == b'|' && self.open.iter().all(|left| *left == 1));
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
                *count = Some(longer.and_then(|c| c.checked_add(usize::from(byte - b'0'))).ok_or(malformed)?);
            }
            (Line::Count(..), _) => return Err(malformed),
        }
        Ok(false)
    }

    /// Begins what a line with a number announces. Whether it has ended with it; `None` if it cannot be.
    fn begin(&mut self, kind: u8, count: Option<usize>) -> Option<bool> {
        let parts = match (kind, count) {
            // Less than none: nil.
            (_, None) => return Some(true),
            (b'$' | b'!' | b'=', Some(length)) => {
                self.skip = length.checked_add(2)?;
                return Some(false);
            }
            (b'%', Some(pairs)) => pairs.checked_mul(2)?,
            // And what has these attributes.
            (b'|', Some(pairs)) => pairs.checked_mul(2)?.checked_add(1)?,
            (_, Some(count)) => count,
        };
        if parts == 0 {
            return Some(true);
        }
        self.open.push(parts);
        (self.open.len() <= DEPTH_MAX).then_some(false)
    }

    /// A frame has ended, and perhaps those that it is the last part of. Whether all have.
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

/// A whole frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame {
    /// It answers a command.
    Answer(Value),
    /// It answers nothing.
    Push(Vec<Value>),
}

/// Reads a whole frame. Of a long one the texts are no copies.
///
/// # Errors
///
/// [`Malformed`].
pub(crate) fn read(frame: &Bytes) -> Result<Frame, Malformed> {
    let mut reader = Reader { left: frame, all: frame };
    reader.frame().ok_or(Malformed { first: None })
}

struct Reader<'a> {
    left: &'a [u8],
    all: &'a Bytes,
}

impl<'a> Reader<'a> {
    /// `None` if it is malformed.
    fn frame(&mut self) -> Option<Frame> {
        self.attributes()?;
        let is_push = self.left.first() == Some(&b'>');
        Some(match (self.value()?, is_push) {
            (Value::List(parts), true) => Frame::Push(parts),
            (value, _) => Frame::Answer(value),
        })
    }

    /// Passes over the attributes in front of a frame.
    fn attributes(&mut self) -> Option<()> {
        while self.left.first() == Some(&b'|') {
            let (_, line) = self.line()?;
            self.pairs(std::str::from_utf8(line).ok()?.parse().ok()?)?;
        }
        Some(())
    }

    /// `None` if it is malformed. Its depth is bounded by the scanner, which has seen it before.
    fn value(&mut self) -> Option<Value> {
        self.attributes()?;
        let (kind, line) = self.line()?;
        let text = || std::str::from_utf8(line).ok();
        Some(match kind {
            b'+' | b'(' => Value::Bytes(self.bytes(line)),
            b'-' => Value::Error(String::from_utf8_lossy(line).into_owned()),
            b':' => Value::Int(text()?.parse().ok()?),
            b',' => Value::Double(text()?.parse().ok()?),
            b'#' => Value::Bool(line == b"t"),
            b'_' => Value::Nil,
            _ if line.first() == Some(&b'-') => Value::Nil,
            b'$' => {
                let data = self.data(text()?.parse().ok()?)?;
                Value::Bytes(self.bytes(data))
            }
            b'!' => Value::Error(String::from_utf8_lossy(self.data(text()?.parse().ok()?)?).into_owned()),
            // Its format stands in front: `txt:`.
            b'=' => {
                let data = self.data(text()?.parse().ok()?)?;
                Value::Bytes(self.bytes(data.get(4..)?))
            }
            b'*' | b'~' | b'>' => {
                let count: usize = text()?.parse().ok()?;
                Value::List((0..count).map(|_| self.value()).collect::<Option<_>>()?)
            }
            b'%' => Value::Map(self.pairs(text()?.parse().ok()?)?),
            _ => return None,
        })
    }

    fn pairs(&mut self, count: usize) -> Option<Vec<(Value, Value)>> {
        (0..count).map(|_| Some((self.value()?, self.value()?))).collect()
    }

    /// The kind of the next frame and the rest of its first line.
    fn line(&mut self) -> Option<(u8, &'a [u8])> {
        let (kind, rest) = self.left.split_first()?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = rest.split_at_checked(end)?;
        self.left = rest.get(1..)?;
        Some((*kind, line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// A text of this length, and the end of its line.
    fn data(&mut self, length: usize) -> Option<&'a [u8]> {
        let (data, rest) = self.left.split_at_checked(length)?;
        self.left = rest.strip_prefix(b"\r\n")?;
        Some(data)
    }

    fn bytes(&self, data: &[u8]) -> Bytes {
        if data.len() < SHARED_MIN { Bytes::copy_from_slice(data) } else { self.all.slice_ref(data) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// All frames in these bytes, which come in pieces of this size.
    fn frames(bytes: &[u8], size: usize) -> Result<Vec<Frame>, Malformed> {
        let (mut scanner, mut frames, mut begun) = (Scanner::default(), Vec::new(), Vec::new());
        for mut piece in bytes.chunks(size) {
            while let Some(end) = scanner.feed(piece)? {
                assert!(scanner.is_between());
                begun.extend_from_slice(&piece[..end]);
                let frame = read(&Bytes::from(std::mem::take(&mut begun)))?;
                assert_eq!(scanner.kind() == b'>', matches!(frame, Frame::Push(_)));
                assert_eq!(matches!(scanner.kind(), b'-' | b'!'), matches!(frame, Frame::Answer(Value::Error(_))));
                frames.push(frame);
                piece = &piece[end..];
            }
            begun.extend_from_slice(piece);
        }
        assert_eq!(begun.is_empty(), scanner.is_between());
        Ok(frames)
    }

    #[test]
    fn every_kind_of_frame_is_read_in_whatever_pieces_it_comes() {
        let long = "x".repeat(SHARED_MIN + 1);
        let cases: Vec<(String, Value)> = vec![
            ("+OK\r\n".into(), text("OK")),
            ("-MOVED 7 h:1\r\n".into(), Value::Error("MOVED 7 h:1".into())),
            (":-12\r\n".into(), Value::Int(-12)),
            ("$11\r\nMOVED 7 h:1\r\n".into(), text("MOVED 7 h:1")),
            ("$0\r\n\r\n".into(), text("")),
            ("$-1\r\n".into(), Value::Nil),
            ("*-1\r\n".into(), Value::Nil),
            ("*0\r\n".into(), Value::List(vec![])),
            (
                "*2\r\n*1\r\n:1\r\n$4\r\n\r\n\r\n\r\n".into(),
                Value::List(vec![Value::List(vec![Value::Int(1)]), text("\r\n\r\n")]),
            ),
            (
                "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n".into(),
                Value::List(vec![text("message"), text("a"), text("b")]),
            ),
            ("_\r\n".into(), Value::Nil),
            (",1.5\r\n".into(), Value::Double(1.5)),
            (",-inf\r\n".into(), Value::Double(f64::NEG_INFINITY)),
            ("#t\r\n".into(), Value::Bool(true)),
            ("(12345678901234567890\r\n".into(), text("12345678901234567890")),
            ("!5\r\nERR x\r\n".into(), Value::Error("ERR x".into())),
            ("=8\r\ntxt:some\r\n".into(), text("some")),
            ("%1\r\n+a\r\n:1\r\n".into(), Value::Map(vec![(text("a"), Value::Int(1))])),
            ("~1\r\n+a\r\n".into(), Value::List(vec![text("a")])),
            ("|1\r\n+ttl\r\n:9\r\n:7\r\n".into(), Value::Int(7)),
            (
                "*1\r\n|1\r\n+ttl\r\n*2\r\n:1\r\n:2\r\n*1\r\n:7\r\n".into(),
                Value::List(vec![Value::List(vec![Value::Int(7)])]),
            ),
            (format!("${}\r\n{long}\r\n", long.len()), text(&long)),
        ];
        let all: String = cases.iter().map(|(bytes, _)| bytes.as_str()).collect();
        for size in [1, 2, 3, 7, all.len()] {
            let read = frames(all.as_bytes(), size).unwrap();
            assert_eq!(read.len(), cases.len());
            for (frame, (bytes, wanted)) in read.iter().zip(&cases) {
                assert_eq!(*frame, Frame::Answer(wanted.clone()), "{bytes:?}");
            }
        }
    }

    #[test]
    fn only_a_frame_that_begins_as_a_push_is_one() {
        let parts = "3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n";
        let list = vec![text("message"), text("a"), text("b")];
        assert_eq!(frames(format!(">{parts}").as_bytes(), 9).unwrap(), [Frame::Push(list.clone())]);
        assert_eq!(frames(format!("*{parts}").as_bytes(), 9).unwrap(), [Frame::Answer(Value::List(list.clone()))]);
        assert_eq!(frames(format!("~{parts}").as_bytes(), 9).unwrap(), [Frame::Answer(Value::List(list.clone()))]);
        for attributes in
            ["|1\r\n+ttl\r\n:9\r\n", "|0\r\n", "|1\r\n+a\r\n*1\r\n|1\r\n+b\r\n:1\r\n:2\r\n|1\r\n+c\r\n:1\r\n"]
        {
            let (push, answer) = (format!("{attributes}>{parts}"), format!("{attributes}*1\r\n-ERR x\r\n"));
            assert_eq!(frames(push.as_bytes(), 5).unwrap(), [Frame::Push(list.clone())], "{attributes:?}");
            let error = Frame::Answer(Value::List(vec![Value::Error("ERR x".into())]));
            assert_eq!(frames(answer.as_bytes(), 5).unwrap(), [error], "{attributes:?}");
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error_and_costs_no_memory() {
        assert_eq!(frames(b"\x15\x03\x01", 1), Err(Malformed { first: Some(0x15) }));
        for bytes in
            ["$x\r\n", "*?\r\n", "$\r\n", "$99999999999999999999999\r\n", "$18446744073709551615\r\n", ":x\r\n"]
        {
            assert!(frames(bytes.as_bytes(), 64).is_err(), "{bytes:?}");
        }
        assert!(frames("*1\r\n".repeat(DEPTH_MAX + 1).as_bytes(), 64).is_err());
        assert_eq!(frames(b"*1000000000000\r\n:1\r\n", 64), Ok(vec![]));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut random = fastrand::Rng::with_seed(7);
        let alphabet = b"+-:$*,#(_!=~>%|\r\n\r\n\r\n0123456789t";
        for _ in 0..200_000 {
            let length = random.usize(..24);
            let bytes: Vec<u8> = (0..length).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
            let mut scanner = Scanner::default();
            if let Ok(Some(end)) = scanner.feed(&bytes) {
                let _ = read(&Bytes::copy_from_slice(&bytes[..end]));
            }
        }
    }
}
