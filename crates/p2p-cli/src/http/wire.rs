//! What is read of HTTP: the first line of a request, the body of an answer.
//!
//! Knows nothing of this program, so that the fuzz targets can have it without the program.

use std::io;

use futures::io::{AsyncRead, AsyncReadExt};

/// What a request without a body ends with.
pub(crate) const END: &[u8] = b"\r\n\r\n";

/// The first line of a request, once all of it is here; `None` if that takes more than `max`
/// bytes, of which at most another 512 were read.
pub(crate) async fn request_line(
    mut stream: impl AsyncRead + Unpin,
    max: usize,
) -> io::Result<Option<String>> {
    let mut request = Vec::new();
    let mut buffer = [0; 512];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The end may have begun in what was read before.
        let fresh = request.len().saturating_sub(END.len() - 1);
        request.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let mut tails = request.get(fresh..).unwrap_or_default().windows(END.len());
        if tails.any(|tail| tail == END) {
            break;
        }
        if request.len() > max {
            return Ok(None);
        }
    }
    let line = request.split(|byte| *byte == b'\r').next();
    let line = line.unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
}

/// The body of a whole answer, if it says that all is well.
pub(crate) fn body(answer: Vec<u8>) -> io::Result<String> {
    let text = String::from_utf8(answer).map_err(io::Error::other)?;
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::other("this is no HTTP"))?;
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        return Err(io::Error::other(format!("the node answers {status:?}")));
    }
    Ok(body.to_owned())
}
