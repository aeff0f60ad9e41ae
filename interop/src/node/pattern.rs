//! Bytes in which a lost, doubled or moved piece shows.

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, io};

const BLOCK: usize = 64 * 1024;
/// Byte i of a transfer is i modulo this.
const MODULUS: u64 = 251;

/// Writes `len` bytes of the pattern.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), len: u64) -> io::Result<()> {
    let mut at = 0;
    while at < len {
        let size = (len - at).min(BLOCK as u64);
        let block: Vec<u8> = (at..at + size).map(byte).collect();
        stream.write_all(&block).await?;
        at += size;
    }
    Ok(())
}

/// Reads to the end and checks every byte; returns how many there were.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    loop {
        let got = stream.read(&mut block).await?;
        if got == 0 {
            return Ok(at);
        }
        for read in block.iter().take(got) {
            if *read != byte(at) {
                return Err(io::Error::other(format!("byte {at} is wrong")));
            }
            at += 1;
        }
    }
}

fn byte(at: u64) -> u8 {
    u8::try_from(at % MODULUS).unwrap_or(u8::MAX)
}

/// Bytes without a pattern that a wrong copy could keep.
pub(super) fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(seed);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}
