//! A server on loopback that answers as it is told, byte for byte, and remembers what it was asked.

#![allow(dead_code, reason = "each test file uses its own part of the lab")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig, pki_types::PrivatePkcs8KeyDer};

/// What the server does with a request.
pub enum Answer {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends these bytes, then keeps the connection open without a word.
    ThenSilence(Vec<u8>),
    /// Sends the first, then the second again and again for as long as somebody listens.
    ThenForEver(Vec<u8>, Vec<u8>),
    /// Sends the first, then the second again and again, with a pause before each.
    ThenSlowly(Vec<u8>, Vec<u8>, Duration),
    /// Sends the first, then the second so many times, and closes; counts what it sent of the second.
    Pieces(Vec<u8>, Vec<u8>, usize),
}

type Decide = dyn Fn(&str) -> Answer + Send + Sync;

pub struct Lab {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    crowd: Arc<Crowd>,
    _tasks: JoinSet<()>,
}

/// How many connections there are, and have been.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    at_most: AtomicUsize,
    ever: AtomicUsize,
    bytes_of_pieces: AtomicU64,
}

impl Lab {
    /// Answers by the path and query of a request.
    pub async fn new(decide: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), decide).await
    }

    pub async fn at(address: SocketAddr, decide: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::asked_at(address, None, move |request| decide(request.split(' ').nth(1).unwrap_or_default())).await
    }

    /// Answers by the whole of a request, head and body.
    pub async fn asked(decide: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::asked_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None, decide).await
    }

    /// Speaks TLS, and answers by the whole of a request.
    pub async fn tls(config: ServerConfig, decide: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::asked_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Some(acceptor), decide).await
    }

    async fn asked_at(
        address: SocketAddr,
        acceptor: Option<TlsAcceptor>,
        decide: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (decide, log): (Arc<Decide>, _) = (Arc::new(decide), Arc::clone(&requests));
        let crowd = Arc::new(Crowd::default());
        let counted = Arc::clone(&crowd);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let now = counted.now.fetch_add(1, Ordering::SeqCst) + 1;
                counted.at_most.fetch_max(now, Ordering::SeqCst);
                counted.ever.fetch_add(1, Ordering::SeqCst);
                let (decide, log, counted) = (Arc::clone(&decide), Arc::clone(&log), Arc::clone(&counted));
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    match acceptor {
                        None => converse(stream, decide, log, &counted).await,
                        Some(acceptor) => {
                            // Only one who trusts the certificate comes further than this.
                            if let Ok(stream) = acceptor.accept(stream).await {
                                converse(stream, decide, log, &counted).await;
                            }
                        }
                    }
                    counted.now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, requests, crowd, _tasks: tasks }
    }

    /// Gives every request the same answer.
    pub async fn always(answer: String) -> Self {
        Self::new(move |_| Answer::Bytes(answer.clone().into_bytes())).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many connections were opened, whatever became of them.
    pub fn connections(&self) -> usize {
        self.crowd.ever.load(Ordering::SeqCst)
    }

    /// How many connections there are at the moment.
    pub fn connections_now(&self) -> usize {
        self.crowd.now.load(Ordering::SeqCst)
    }

    /// How many connections there were at the same time, at most.
    pub fn connections_at_most(&self) -> usize {
        self.crowd.at_most.load(Ordering::SeqCst)
    }

    /// How much was sent of answers that come in pieces.
    pub fn bytes_of_pieces(&self) -> u64 {
        self.crowd.bytes_of_pieces.load(Ordering::SeqCst)
    }

    /// Head and body of every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    decide: Arc<Decide>,
    log: Arc<Mutex<Vec<String>>>,
    crowd: &Crowd,
) {
    let Some(request) = read_request(&mut stream).await else { return };
    let answer = decide(&request);
    log.lock().unwrap().push(request);
    // The other side may hang up at any time: that is what some tests are about.
    match answer {
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Answer::ThenSilence(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.read(&mut [0; 64]).await;
        }
        Answer::ThenForEver(head, again) => {
            let _ = stream.write_all(&head).await;
            while stream.write_all(&again).await.is_ok() {}
        }
        Answer::Pieces(head, piece, count) => {
            let _ = stream.write_all(&head).await;
            for _ in 0..count {
                if stream.write_all(&piece).await.is_err() {
                    return;
                }
                crowd.bytes_of_pieces.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
            let _ = stream.shutdown().await;
        }
        Answer::ThenSlowly(head, again, pause) => {
            let _ = stream.write_all(&head).await;
            let mut ticks = tokio::time::interval(pause);
            while stream.write_all(&again).await.is_ok() {
                ticks.tick().await;
            }
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..read]);
        // The first byte of a TLS handshake; what follows is not for us.
        if bytes[0] == 0x16 {
            return Some("TLS /tls".to_owned());
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(text);
        }
    }
}

/// A server that speaks TLS with a certificate that it signed itself, for `name`.
pub async fn with_own_certificate(name: &str) -> Lab {
    let own = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .unwrap();
    Lab::tls(config, |_| Answer::Bytes(Vec::new())).await
}

/// An address at which nobody listens, for as long as the socket is held.
pub fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap());
    (socket, url)
}

/// An answer with a status line, headers and a body, and the right length.
pub fn http(status: &str, headers: &[&str], body: &str) -> String {
    let headers = headers.iter().flat_map(|header| [*header, "\r\n"]).collect::<String>();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}
