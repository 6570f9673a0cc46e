//! A TCP proxy on loopback that goes wrong when it is told to: between a worker and its broker, or its portal.

mod frames;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use frames::WithoutCancels;

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Everything passes.
    Passes,
    /// New connections are closed at once; those that exist go on.
    Refuses,
    /// Connections are kept and taken, and nothing passes.
    BlackHole,
    /// Only what the server says passes.
    OnlyToClient,
    /// Only what the client says passes.
    OnlyToServer,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What the server says.
    ToClient,
    /// What the client says.
    ToServer,
}

impl Line {
    fn passes(self, way: Way) -> bool {
        match self {
            Self::Passes | Self::Refuses => true,
            Self::BlackHole => false,
            Self::OnlyToClient => way == Way::ToClient,
            Self::OnlyToServer => way == Way::ToServer,
        }
    }
}

/// The proxy; it and all its connections end when it is dropped.
pub struct Proxy {
    port: u16,
    wires: Wires,
    runtime: Option<Runtime>,
}

/// What every connection listens to.
#[derive(Clone)]
struct Wires {
    server: SocketAddr,
    line: watch::Sender<Line>,
    orders: broadcast::Sender<Order>,
    /// After so many bytes more in that direction everything is cut.
    fuse: Arc<Mutex<Option<(Way, usize)>>>,
    open: Arc<AtomicUsize>,
    swallows_cancels: bool,
}

#[derive(Debug, Clone)]
enum Order {
    Cut,
    Inject(Way, Arc<[u8]>),
}

impl Proxy {
    /// A proxy to a port on loopback.
    pub fn to(port: u16) -> Self {
        Self::start(port, false)
    }

    /// A proxy to a broker, whose word that a consumer is cancelled never reaches the consumer.
    pub fn swallowing_cancels(port: u16) -> Self {
        Self::start(port, true)
    }

    fn start(server: u16, swallows_cancels: bool) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("rig-proxy").enable_all().build();
        let runtime = runtime.expect("threads start");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let wires = Wires {
            server: (Ipv4Addr::LOCALHOST, server).into(),
            line: watch::Sender::new(Line::Passes),
            orders: broadcast::Sender::new(64),
            fuse: Arc::default(),
            open: Arc::default(),
            swallows_cancels,
        };
        let accepting = wires.clone();
        // The runtime owns the task and ends it when the proxy is dropped.
        drop(runtime.spawn(async move { accept(listener, accepting).await }));
        Self { port, wires, runtime: Some(runtime) }
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections go through it now.
    pub fn connections(&self) -> usize {
        self.wires.open.load(Ordering::Relaxed)
    }

    /// Changes the line, for connections that exist and for new ones. What was held back passes later, as after a
    /// network's outage.
    pub fn set(&self, line: Line) {
        self.wires.line.send_replace(line);
    }

    /// Cuts all connections: both ends see a reset.
    pub fn cut(&self) {
        // Without connections nobody hears it.
        let _ = self.wires.orders.send(Order::Cut);
    }

    /// Cuts all connections after so many bytes more in one direction: in the middle of a frame, most likely.
    pub fn cut_after(&self, way: Way, bytes: usize) {
        *self.wires.fuse.lock().unwrap_or_else(PoisonError::into_inner) = Some((way, bytes));
    }

    /// Says something on every connection that nobody has said.
    pub fn inject(&self, way: Way, bytes: &[u8]) {
        let _ = self.wires.orders.send(Order::Inject(way, bytes.into()));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, wires: Wires) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) if *wires.line.borrow() == Line::Refuses => reset(&client),
                Ok((client, _)) => drop(connections.spawn(serve(client, wires.clone()))),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, until both ends have said all, or it is cut.
async fn serve(client: TcpStream, wires: Wires) {
    // In a black hole not even the first packet arrives: the server learns of the connection when the line is back.
    let mut line = wires.line.subscribe();
    if line.wait_for(|line| *line != Line::BlackHole).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(wires.server).await else { return reset(&client) };
    // From the moment that it counts as open it hears what is ordered.
    let [mut orders, by_client, by_server] = [(); 3].map(|()| wires.orders.subscribe());
    wires.open.fetch_add(1, Ordering::Relaxed);
    for stream in [&client, &server] {
        // Whatever ends this connection, a cut or an end, is seen at once; those who end in good order have said so.
        let _ = stream.set_nodelay(true);
        linger_not(stream);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let both = async {
        tokio::join!(
            pump(from_server, to_client, Way::ToClient, &wires, by_server),
            pump(from_client, to_server, Way::ToServer, &wires, by_client)
        )
    };
    let cut = async { while !matches!(orders.recv().await, Ok(Order::Cut)) {} };
    tokio::select! {
        _ = both => {}
        () = cut => {}
    }
    wires.open.fetch_sub(1, Ordering::Relaxed);
}

/// Carries one direction until its end.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    wires: &Wires,
    mut orders: broadcast::Receiver<Order>,
) {
    let mut line = wires.line.subscribe();
    let mut filter = (wires.swallows_cancels && way == Way::ToClient).then(WithoutCancels::default);
    let mut bytes = vec![0; 64 * 1024];
    loop {
        if line.wait_for(|line| line.passes(way)).await.is_err() {
            return;
        }
        let said = tokio::select! {
            read = from.read(&mut bytes) => match read {
                Ok(0) | Err(_) => break,
                Ok(count) => match &mut filter {
                    Some(filter) => filter.pass(&bytes[..count]),
                    None => bytes[..count].to_vec(),
                },
            },
            order = orders.recv() => match order {
                Ok(Order::Inject(wanted, bytes)) if wanted == way => bytes.to_vec(),
                _ => continue,
            },
            _ = line.changed() => continue,
        };
        let allowed = wires.allowed(way, said.len());
        if to.write_all(&said[..allowed]).await.is_err() {
            break;
        }
        if allowed < said.len() {
            let _ = wires.orders.send(Order::Cut);
        }
    }
    let _ = to.shutdown().await;
}

impl Wires {
    /// How much of so many bytes passes before the fuse blows.
    fn allowed(&self, way: Way, bytes: usize) -> usize {
        let mut fuse = self.fuse.lock().unwrap_or_else(PoisonError::into_inner);
        match *fuse {
            Some((wanted, left)) if wanted == way && left < bytes => {
                *fuse = None;
                left
            }
            Some((wanted, left)) if wanted == way => {
                *fuse = Some((way, left - bytes));
                bytes
            }
            _ => bytes,
        }
    }
}

fn reset(stream: &TcpStream) {
    linger_not(stream);
}

/// Lets a stream end with a reset when it is dropped.
fn linger_not(stream: &TcpStream) {
    // A stream that has ended already needs none.
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}
