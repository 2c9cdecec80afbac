//! The messages of PostgreSQL's protocol, as far as the driver uses them.
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The type ids of columns.
pub const BOOL: u32 = 16;
pub const INT8: u32 = 20;
pub const TEXT: u32 = 25;

/// A message of a client, or its start-up message.
pub struct Asked {
    pub kind: u8,
    body: Vec<u8>,
    read: usize,
}

impl Asked {
    /// Reads the start-up message, which has no kind.
    pub async fn first(stream: &mut UnixStream) -> io::Result<Self> {
        Self::with_kind(0, stream).await
    }

    pub async fn next(stream: &mut UnixStream) -> io::Result<Self> {
        let kind = stream.read_u8().await?;
        Self::with_kind(kind, stream).await
    }

    async fn with_kind(kind: u8, stream: &mut UnixStream) -> io::Result<Self> {
        let length = stream.read_u32().await? as usize - 4;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok(Self { kind, body, read: 0 })
    }

    pub fn text(&mut self) -> String {
        let rest = &self.body[self.read..];
        let end = rest.iter().position(|byte| *byte == 0).unwrap();
        self.read += end + 1;
        String::from_utf8(rest[..end].to_vec()).unwrap()
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        self.read += N;
        self.body[self.read - N..self.read].try_into().unwrap()
    }

    pub fn int16(&mut self) -> i16 {
        i16::from_be_bytes(self.bytes())
    }

    /// Reads the parameters of a Bind whose portal and statement have been read; all are numbers in
    /// the binary format.
    pub fn numbers(&mut self) -> Vec<i64> {
        for _ in 0..self.int16() {
            self.int16();
        }
        let count = self.int16();
        let number = |asked: &mut Self| {
            assert_eq!(i32::from_be_bytes(asked.bytes()), 8, "parameters are numbers");
            i64::from_be_bytes(asked.bytes())
        };
        (0..count).map(|_| number(self)).collect()
    }
}

/// A value of a row.
#[derive(Debug, Clone)]
pub enum Value {
    Int(i64),
    Text(String),
}

/// The reply that the server is about to send.
#[derive(Debug, Default)]
pub struct Reply(Vec<u8>);

impl Reply {
    pub fn message(&mut self, kind: u8, body: &[u8]) {
        self.0.push(kind);
        self.0.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        self.0.extend_from_slice(body);
    }

    pub fn error(&mut self, severity: &str, code: &str, message: &str, routine: &str) {
        let fields =
            [(b'S', severity), (b'V', severity), (b'C', code), (b'M', message), (b'R', routine)];
        let mut body = Vec::new();
        for (kind, text) in fields {
            body.push(kind);
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        self.message(b'E', &body);
    }

    /// Adds the types of a statement's parameters, which are all numbers.
    pub fn parameters(&mut self, count: u16) {
        let mut body = count.to_be_bytes().to_vec();
        (0..count).for_each(|_| body.extend_from_slice(&INT8.to_be_bytes()));
        self.message(b't', &body);
    }

    pub fn columns(&mut self, types: &[u32], binary: bool) {
        let mut body = (types.len() as u16).to_be_bytes().to_vec();
        for (n, oid) in types.iter().enumerate() {
            body.extend_from_slice(format!("c{n}\0").as_bytes());
            body.extend_from_slice(&[0; 6]);
            body.extend_from_slice(&oid.to_be_bytes());
            body.extend_from_slice(&8_u16.to_be_bytes());
            body.extend_from_slice(&(-1_i32).to_be_bytes());
            body.extend_from_slice(&u16::from(binary).to_be_bytes());
        }
        self.message(b'T', &body);
    }

    pub fn row(&mut self, values: &[Value], binary: bool) {
        let mut body = (values.len() as u16).to_be_bytes().to_vec();
        for value in values {
            let bytes = match value {
                Value::Int(int) if binary => int.to_be_bytes().to_vec(),
                Value::Int(int) => int.to_string().into_bytes(),
                Value::Text(text) => text.clone().into_bytes(),
            };
            body.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            body.extend_from_slice(&bytes);
        }
        self.message(b'D', &body);
    }

    pub fn complete(&mut self, tag: &str) {
        self.message(b'C', format!("{tag}\0").as_bytes());
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Sends the reply up to this offset.
    pub async fn say(&mut self, stream: &mut UnixStream, until: usize) -> io::Result<()> {
        let said: Vec<u8> = self.0.drain(..until).collect();
        stream.write_all(&said).await
    }
}
