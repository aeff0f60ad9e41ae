//! Just enough HTTP to show what a node does: one page to each connection.
//!
//! ```text
//!   GET /metrics   OpenMetrics text, for Prometheus
//!   GET /top       JSON, for `p2p top`
//! ```

mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p::core::{Rt, TcpListener, TcpOptions, TcpStream};
use p2p::swarm::{WeakSwarm, metrics};

use crate::state;

/// The longest request that is read, in bytes.
const MAX_REQUEST: usize = 4096;
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 16 << 20;
/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Exchanges at the same time; more are hung up on.
const MAX_AT_ONCE: usize = 16;

/// Answers until the swarm is gone.
pub(crate) async fn serve(rt: Rt, mut listener: Box<dyn TcpListener>, swarm: WeakSwarm) {
    let under_way = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a request for metrics");
                rt.sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(alive) = swarm.upgrade() else {
            return;
        };
        if under_way.fetch_add(1, Ordering::Relaxed) >= MAX_AT_ONCE {
            under_way.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (rt, weak, done) = (rt.clone(), swarm.clone(), Arc::clone(&under_way));
        alive.spawn("metrics request", async move {
            let answered = rt.timeout(PATIENCE, answer(stream, &weak)).await;
            if let Ok(Err(error)) = answered {
                tracing::debug!(%from, %error, "request for metrics failed");
            }
            done.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn answer(mut stream: Box<dyn TcpStream>, swarm: &WeakSwarm) -> io::Result<()> {
    let answer = match wire::request_line(&mut stream, MAX_REQUEST).await? {
        Some(line) => page(&line, swarm),
        None => response(
            "431 Request Header Fields Too Large",
            "text/plain",
            "a request has at most 4096 bytes\n",
        ),
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.close().await
}

/// The answer to a request that begins with `line`.
fn page(line: &str, swarm: &WeakSwarm) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words[..] else {
        return response("400 Bad Request", "text/plain", "this is no HTTP\n");
    };
    if !version.starts_with("HTTP/1.") {
        return response("505 HTTP Version Not Supported", "text/plain", "HTTP/1.1\n");
    }
    if method != "GET" {
        // With the header that has to be there.
        let status = "405 Method Not Allowed\r\nAllow: GET";
        return response(status, "text/plain", "only GET\n");
    }
    let Some(swarm) = swarm.upgrade() else {
        let why = "the node is ending\n";
        return response("503 Service Unavailable", "text/plain", why);
    };
    match target.split('?').next() {
        Some("/metrics") => response("200 OK", metrics::CONTENT_TYPE, &metrics::render(&swarm)),
        Some("/top") => {
            let text = state::of(&swarm).to_string();
            response("200 OK", "application/json", &text)
        }
        Some(_) | None => response("404 Not Found", "text/plain", "try /metrics or /top\n"),
    }
}

fn response(status: &str, kind: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// The body of `path` at `at`.
pub(crate) async fn get(rt: &Rt, at: SocketAddr, path: &str) -> io::Result<String> {
    let exchange = async {
        let mut stream = rt.net().tcp_connect(at, &TcpOptions::default()).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        wire::body(answer)
    };
    match rt.timeout(PATIENCE, exchange).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "no answer within 5 s",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_long_it_is() {
        let text = response("200 OK", "text/plain", "äb");
        assert!(text.contains("Content-Length: 3\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\näb"));
    }
}
