//! A few kibibytes that unpack to a gibibyte.

use std::io::Write as _;

use flate2::{Compress, Compression, Crc, FlushCompress, write::GzEncoder};

const PIECE: usize = 1 << 24;
const PIECES: usize = 64;

/// A gibibyte of zeros, packed by gzip twice: for who unpacks one `Content-Encoding` after another.
pub fn packed_twice() -> Vec<u8> {
    let once = packed();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&once).unwrap();
    encoder.finish().unwrap()
}

/// The same packed once. All pieces are the same and none looks back at the one before, so one is packed in their place.
fn packed() -> Vec<u8> {
    let zeros = vec![0; PIECE];
    let mut piece = Vec::with_capacity(PIECE / 64);
    Compress::new(Compression::best(), false).compress_vec(&zeros, &mut piece, FlushCompress::Full).unwrap();
    let mut crc = Crc::new();
    crc.update(&zeros);
    let mut whole = Crc::new();
    (0..PIECES).for_each(|_| whole.combine(&crc));
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff];
    // The last block of all is empty.
    let end = [&[3, 0][..], &whole.sum().to_le_bytes(), &whole.amount().to_le_bytes()].concat();
    [&head[..], &piece.repeat(PIECES), &end].concat()
}

#[test]
fn the_bomb_is_one() {
    use std::io::Read as _;
    let bomb = packed_twice();
    assert!(bomb.len() < 16 << 10, "{} bytes", bomb.len());
    let mut unpacked = flate2::read::GzDecoder::new(flate2::read::GzDecoder::new(bomb.as_slice()));
    let mut part = vec![1; 1 << 20];
    unpacked.read_exact(&mut part).unwrap();
    assert!(part.iter().all(|byte| *byte == 0));
    let mut once = Vec::new();
    flate2::read::GzDecoder::new(bomb.as_slice()).read_to_end(&mut once).unwrap();
    assert_eq!(once.len(), packed().len());
    assert_eq!(once[once.len() - 4..], u32::try_from(PIECE * PIECES).unwrap().to_le_bytes(), "a gibibyte, it says");
}
