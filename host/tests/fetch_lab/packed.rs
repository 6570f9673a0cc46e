//! Content that is much larger than it looks: S11. The host never unpacks, so there is nothing to blow up.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::lab::{Answer, Lab};
use crate::rig::{Rig, get};

/// Ten megabytes of nothing, packed as often as it says.
fn bomb(layers: usize) -> Vec<u8> {
    (0..layers).fold(vec![0; 10_000_000], |bytes, _| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes).unwrap();
        encoder.finish().unwrap()
    })
}

#[tokio::test]
async fn s11_what_comes_packed_is_stored_as_it_comes_and_is_called_so() {
    let rig = Rig::new();
    for (encoding, layers) in [("gzip", 1), ("gzip, gzip", 2), ("br", 1), ("zstd, deflate, gzip", 1)] {
        let packed = bomb(layers);
        assert!(packed.len() < 20_000);
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
            packed.len()
        );
        let answer = [head.into_bytes(), packed.clone()].concat();
        let lab = Lab::new(move |_| Answer::Bytes(answer.clone())).await;
        let response = rig.send(&get(&lab.url("/"))).await.unwrap();
        let body = response.body.as_ref().unwrap();
        assert_eq!(body.bytes, packed.len() as u64);
        assert_eq!(std::fs::read(&body.path).unwrap(), packed);
        assert_eq!(response.header("content-encoding"), Some(encoding));
        assert!(lab.requests()[0].to_lowercase().contains("\r\naccept-encoding: identity\r\n"));
    }
}
