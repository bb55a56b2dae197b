//! A plain client of the live stream, as slow as the test wants it.

use super::wait::PATIENCE;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// An event.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
}

/// See the module.
pub struct Stream {
    socket: TcpStream,
    /// Status line and headers of the answer.
    pub head: String,
    /// What came of the body and is no whole chunk yet.
    raw: Vec<u8>,
    /// What came of the events and is no whole event yet.
    text: Vec<u8>,
}

impl Stream {
    /// Asks for the stream at `path` with these headers and reads the head of the answer.
    pub async fn open(url: &str, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::with_window(url, path, headers, None).await
    }

    /// The same with room for so many bytes that nobody has read, beside what the sender keeps.
    pub async fn with_window(url: &str, path: &str, headers: &[(&str, &str)], window: Option<u32>) -> Self {
        let address: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(window) = window {
            socket.set_recv_buffer_size(window).unwrap();
        }
        let mut socket = socket.connect(address).await.unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Self { socket, head: String::new(), raw: Vec::new(), text: Vec::new() };
        let end = loop {
            if let Some(at) = find(&stream.raw, b"\r\n\r\n") {
                break at + 4;
            }
            assert!(stream.read().await, "the answer ended in its head");
        };
        stream.head = String::from_utf8(stream.raw.drain(..end).collect()).unwrap();
        stream
    }

    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The body of an answer that is no stream.
    pub async fn body(mut self) -> Value {
        let length = self.head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let length: usize = length.parse().unwrap();
        while self.raw.len() < length {
            assert!(self.read().await);
        }
        serde_json::from_slice(&self.raw).unwrap()
    }

    /// The next event; `None` when the server ended the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = find(&self.text, b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                if let Some(event) = parse(std::str::from_utf8(&block).unwrap()) {
                    return Some(event);
                }
                continue;
            }
            match self.chunk() {
                Some(chunk) if chunk.is_empty() => return None,
                Some(chunk) => self.text.extend(chunk),
                None if !self.read().await => return None,
                None => {}
            }
        }
    }

    /// The next event of this name.
    pub async fn next_of(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {name}"));
            if event.name == name {
                return event;
            }
        }
    }

    /// The next whole chunk of the body; an empty one is its end.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = find(&self.raw, b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&self.raw[..line]).unwrap(), 16).unwrap();
        let end = line + 2 + length;
        if self.raw.len() < end + 2 {
            return None;
        }
        let chunk = self.raw[line + 2..end].to_vec();
        self.raw.drain(..end + 2);
        Some(chunk)
    }

    /// Reads what is there; false when the connection is over.
    async fn read(&mut self) -> bool {
        let mut bytes = vec![0; 64 << 10];
        let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut bytes)).await;
        let count = read.expect("the stream was silent").unwrap_or(0);
        self.raw.extend_from_slice(&bytes[..count]);
        count > 0
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// `None` for a comment or the time to come back.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let name = field("event")?.to_owned();
    let data = serde_json::from_str(field("data").unwrap()).unwrap();
    Some(Event { id: field("id").unwrap().to_owned(), name, data })
}
