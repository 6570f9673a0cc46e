//! A web server on a loopback address of its own, which speaks HTTP by hand: so it can do what no library lets it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long the slow one takes for each byte.
const BYTE_EVERY: Duration = Duration::from_secs(10);

/// What a server does with a request.
#[derive(Clone)]
pub enum Answer {
    /// Sends these bytes, and closes.
    Bytes(Vec<u8>),
    /// Sends a body without a length: `at_first` bytes, the rest up to `in_all` once the gate is open.
    Flood { at_first: usize, in_all: usize },
    /// Sends a head that never ends, a byte each ten seconds.
    Loris,
}

type Decide = dyn Fn(&str) -> Answer + Send + Sync;

/// A running server; it ends when it is dropped.
pub struct Web {
    address: SocketAddr,
    shared: Arc<Shared>,
    gate: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

struct Shared {
    decide: Box<Decide>,
    requests: Mutex<Vec<String>>,
    held: AtomicUsize,
}

/// Where the servers of these tests run.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    RUNTIME.get_or_init(build)
}

impl Web {
    /// Starts one at a loopback address, on a free port; it answers by the path of a request.
    pub fn start(ip: &str, decide: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = runtime().block_on(TcpListener::bind((ip, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (decide, requests, held) = (Box::new(decide), Mutex::default(), AtomicUsize::new(0));
        let shared = Arc::new(Shared { decide, requests, held });
        let gate = watch::Sender::new(false);
        let (serving, opens) = (Arc::clone(&shared), gate.subscribe());
        let mut tasks = JoinSet::new();
        let accept = async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(stream, Arc::clone(&serving), opens.clone()));
                while connections.try_join_next().is_some() {}
            }
        };
        tasks.spawn_on(accept, runtime().handle());
        Self { address, shared, gate, _tasks: tasks }
    }

    /// The address of something on it; `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every request so far, head and body.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests there were so far.
    pub fn asked(&self) -> usize {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many answers are held back now, with somebody waiting at the other end.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// Lets floods go on, those to come too.
    pub fn open_the_gate(&self) {
        self.gate.send_replace(true);
    }
}

async fn converse(mut stream: TcpStream, shared: Arc<Shared>, opens: watch::Receiver<bool>) {
    let Some(request) = read_request(&mut stream).await else { return };
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    // The other side may hang up at any time: that is what the tests are about.
    let _ = match (shared.decide)(&path) {
        Answer::Bytes(bytes) => send(&mut stream, &bytes).await,
        Answer::Flood { at_first, in_all } => flood(&mut stream, (at_first, in_all), &shared, opens).await,
        Answer::Loris => dawdle(&mut stream, &shared).await,
    };
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.shutdown().await
}

async fn flood(
    stream: &mut TcpStream,
    (at_first, in_all): (usize, usize),
    shared: &Shared,
    mut opens: watch::Receiver<bool>,
) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nConnection: close\r\n\r\n").await?;
    let block = vec![b'x'; 64 * 1024];
    for sent in (0..in_all).step_by(block.len()) {
        if sent >= at_first && !*opens.borrow() {
            let _held = Held::begin(shared);
            let mut hangs_up = [0; 64];
            tokio::select! {
                _ = opens.wait_for(|is_open| *is_open) => {}
                _ = stream.read(&mut hangs_up) => return Ok(()),
            }
        }
        stream.write_all(&block).await?;
    }
    stream.shutdown().await
}

async fn dawdle(stream: &mut TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nX-Slow: ").await?;
    let _held = Held::begin(shared);
    let mut hangs_up = [0; 64];
    loop {
        tokio::select! {
            () = tokio::time::sleep(BYTE_EVERY) => stream.write_all(b"x").await?,
            _ = stream.read(&mut hangs_up) => return Ok(()),
        }
    }
}

/// An answer that is being held back.
struct Held<'a>(&'a Shared);

impl<'a> Held<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.held.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).await.ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(text);
        }
    }
}

/// A good answer with this body.
pub fn file(mimetype: &str, body: &[u8]) -> Answer {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {mimetype}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Answer::Bytes([head.as_bytes(), body].concat())
}

/// An answer with this status line and these headers, without a body.
pub fn says(status: &str, headers: &[String]) -> Answer {
    let headers = [&["Connection: close".to_owned(), "Content-Length: 0".to_owned()], headers].concat().join("\r\n");
    let head = format!("HTTP/1.1 {status}\r\n{headers}\r\n\r\n");
    Answer::Bytes(head.into_bytes())
}
