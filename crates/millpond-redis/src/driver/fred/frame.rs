//! Reads whole frames.

use crate::driver::scanner::Malformed;
use crate::value::Value;
use bytes::Bytes;

/// From this length on a string shares the memory of its frame instead of being copied. Short ones
/// are copied, since they would keep the whole buffer alive.
const SHARED_MIN: usize = 4096;

/// A string in a larger buffer than this is copied unless it is a large part of it: kept by its
/// caller, it would keep all of the buffer.
const BUFFER_SMALL: usize = 64 * 1024;

/// The part of such a buffer that a string has to be.
const SHARED_PART: usize = 4;

/// A whole frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame {
    /// The answer to a command.
    Answer(Value),
    /// A RESP3 push, which answers nothing.
    Push(Vec<Value>),
}

/// Reads a whole frame of this kind, which lies in a buffer of this size. Long strings share its
/// memory, unless they are a small part of it.
///
/// # Errors
///
/// [`Malformed`].
pub(crate) fn read(frame: &Bytes, kind: u8, buffer: usize) -> Result<Frame, Malformed> {
    let shared_min = if buffer > BUFFER_SMALL { buffer / SHARED_PART } else { SHARED_MIN };
    let mut reader = Reader { left: frame, all: frame, shared_min };
    match (reader.value().ok_or(Malformed { first: None })?, kind) {
        (Value::List(parts), b'>') => Ok(Frame::Push(parts)),
        (value, _) => Ok(Frame::Answer(value)),
    }
}

struct Reader<'a> {
    left: &'a [u8],
    all: &'a Bytes,
    /// From this length on a string shares the memory.
    shared_min: usize,
}

impl<'a> Reader<'a> {
    /// Skips the attributes in front of a frame.
    fn attributes(&mut self) -> Option<()> {
        while self.left.first() == Some(&b'|') {
            let (_, line) = self.line()?;
            self.pairs(std::str::from_utf8(line).ok()?.parse().ok()?)?;
        }
        Some(())
    }

    /// Returns `None` if the frame is malformed. The scanner has checked its depth before.
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
            b'!' => Value::Error(
                String::from_utf8_lossy(self.data(text()?.parse().ok()?)?).into_owned(),
            ),
            // Three letters and a colon name the format: `txt:`.
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

    /// Returns the kind of the next frame and the rest of its first line.
    fn line(&mut self) -> Option<(u8, &'a [u8])> {
        let (kind, rest) = self.left.split_first()?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = rest.split_at_checked(end)?;
        self.left = rest.get(1..)?;
        Some((*kind, line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// Returns a string of this length, and skips the CRLF after it.
    fn data(&mut self, length: usize) -> Option<&'a [u8]> {
        let (data, rest) = self.left.split_at_checked(length)?;
        self.left = rest.strip_prefix(b"\r\n")?;
        Some(data)
    }

    fn bytes(&self, data: &[u8]) -> Bytes {
        if data.len() < self.shared_min {
            Bytes::copy_from_slice(data)
        } else {
            self.all.slice_ref(data)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::scanner::{DEPTH_MAX, Scanner};

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
                let frame = Bytes::from(std::mem::take(&mut begun));
                let frame = read(&frame, scanner.kind(), frame.len())?;
                assert_eq!(scanner.kind() == b'>', matches!(frame, Frame::Push(_)));
                assert_eq!(
                    matches!(scanner.kind(), b'-' | b'!'),
                    matches!(frame, Frame::Answer(Value::Error(_)))
                );
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
        assert_eq!(
            frames(format!("*{parts}").as_bytes(), 9).unwrap(),
            [Frame::Answer(Value::List(list.clone()))]
        );
        assert_eq!(
            frames(format!("~{parts}").as_bytes(), 9).unwrap(),
            [Frame::Answer(Value::List(list.clone()))]
        );
        for attributes in [
            "|1\r\n+ttl\r\n:9\r\n",
            "|0\r\n",
            "|1\r\n+a\r\n*1\r\n|1\r\n+b\r\n:1\r\n:2\r\n|1\r\n+c\r\n:1\r\n",
        ] {
            let (push, answer) =
                (format!("{attributes}>{parts}"), format!("{attributes}*1\r\n-ERR x\r\n"));
            assert_eq!(
                frames(push.as_bytes(), 5).unwrap(),
                [Frame::Push(list.clone())],
                "{attributes:?}"
            );
            let error = Frame::Answer(Value::List(vec![Value::Error("ERR x".into())]));
            assert_eq!(frames(answer.as_bytes(), 5).unwrap(), [error], "{attributes:?}");
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error_and_costs_no_memory() {
        assert_eq!(frames(b"\x15\x03\x01", 1), Err(Malformed { first: Some(0x15) }));
        for bytes in [
            "$x\r\n",
            "*?\r\n",
            "$\r\n",
            "$99999999999999999999999\r\n",
            "$18446744073709551615\r\n",
            ":x\r\n",
        ] {
            assert!(frames(bytes.as_bytes(), 64).is_err(), "{bytes:?}");
        }
        assert!(frames("*1\r\n".repeat(DEPTH_MAX + 1).as_bytes(), 64).is_err());
        assert_eq!(frames(b"*1000000000000\r\n:1\r\n", 64), Ok(vec![]));
    }

    #[test]
    fn a_string_shares_the_memory_of_its_buffer_only_if_it_is_much_of_it() {
        let long = "x".repeat(SHARED_MIN);
        let bytes = Bytes::from(format!("${}\r\n{long}\r\n", long.len()));
        let range = bytes.as_ptr_range();
        for (buffer, is_shared) in
            [(bytes.len(), true), (BUFFER_SMALL, true), (BUFFER_SMALL + 1, false), (1 << 30, false)]
        {
            let Ok(Frame::Answer(Value::Bytes(text))) = read(&bytes, b'$', buffer) else {
                panic!()
            };
            assert_eq!(text, long);
            assert_eq!(range.contains(&text.as_ptr()), is_shared, "{buffer}");
        }
        let large = Bytes::from(format!("${}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20)));
        let Ok(Frame::Answer(Value::Bytes(text))) = read(&large, b'$', 2 << 20) else { panic!() };
        assert!(large.as_ptr_range().contains(&text.as_ptr()), "copied for nothing");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut random = fastrand::Rng::with_seed(7);
        let alphabet = b"+-:$*,#(_!=~>%|\r\n\r\n\r\n0123456789t";
        for _ in 0..200_000 {
            let length = random.usize(..24);
            let bytes: Vec<u8> =
                (0..length).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
            let mut scanner = Scanner::default();
            if let Ok(Some(end)) = scanner.feed(&bytes) {
                let _ = read(&Bytes::copy_from_slice(&bytes[..end]), scanner.kind(), end);
            }
        }
    }
}
