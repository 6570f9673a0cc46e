//! Connections that are kept open, and closed by the server without a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{Rig, get};

/// Answers the first request on a connection as if it were to stay open, and closes it at the second.
async fn serve_once(mut connection: TcpStream) {
    let mut request = [0; 4096];
    if connection.read(&mut request).await.unwrap_or(0) > 0 {
        let _ =
            connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc").await;
        let _ = connection.read(&mut request).await;
    }
}

#[tokio::test]
async fn what_was_asked_for_on_a_connection_that_turns_out_to_be_closed_is_asked_for_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let opened = Arc::clone(&connections);
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((connection, _)) = listener.accept().await {
            opened.fetch_add(1, Ordering::SeqCst);
            open.spawn(serve_once(connection));
        }
    });
    let rig = Rig::new();
    for _ in 0..5 {
        let response = rig.send(&get(&url)).await.unwrap();
        assert_eq!(response.body.unwrap().bytes, 3);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 5, "each is good for one answer");
}
