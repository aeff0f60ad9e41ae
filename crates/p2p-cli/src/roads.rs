//! How a node that listens finds others and is found.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use futures::stream::StreamExt;
use p2p::bootstrap::{self, List};
use p2p::core::Multiaddr;
use p2p::mdns::{self, Event};
use p2p::swarm::RedbStore;
use p2p::websocket::{self, ServerCertificate};
use p2p::{Chain, Host, HostBuilder};

use crate::addr;
use crate::failure::Failure;
use crate::output::{Output, Record};
use crate::reach::Reach;

/// The options for it.
#[derive(Debug, Args)]
pub(crate) struct Roads {
    /// Find the nodes of the local network and be found by them (multicast DNS)
    #[arg(long, conflicts_with = "proxy")]
    mdns: bool,

    /// Stay connected with this node; the address ends in /p2p/PEER. Several: the option again
    #[arg(long, value_name = "ADDR", value_parser = addr::parse)]
    bootstrap: Vec<Multiaddr>,

    /// Keep the addresses of other nodes in this file from run to run
    #[arg(long, value_name = "FILE")]
    book: Option<PathBuf>,

    /// The certificate to listen on .../tls/ws with, and those up to its authority, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl Roads {
    /// Adds what was asked for.
    pub(crate) fn add_to(
        &self,
        output: Output,
        reach: &Reach,
        mut builder: HostBuilder,
    ) -> Result<HostBuilder, Failure> {
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let mut config = reach.websocket()?;
            config.certificate = Some(certificate(cert, key)?);
            builder = builder.websocket(Some(config));
        }
        if !self.bootstrap.is_empty() {
            let list = List::new(self.bootstrap.iter().cloned()).map_err(|error| {
                Failure::new("cannot use the bootstrap list", "start", Chain(&error))
                    .tried(error.text.clone())
                    .help("an address such as /ip4/127.0.0.1/tcp/4001/p2p/PEER")
            })?;
            builder = builder.bootstrap(list, bootstrap::Config::default());
        }
        if let Some(file) = &self.book {
            builder = builder.book_store(open_book(output, file)?);
        }
        if self.mdns {
            builder = builder.mdns(Some(mdns::Config::default()));
        }
        Ok(builder)
    }
}

/// Opens the address book; says so if it had to start with a new one.
fn open_book(output: Output, file: &Path) -> Result<RedbStore, Failure> {
    let opened = RedbStore::open(file).map_err(|error| {
        Failure::new("cannot use the address book", "start", Chain(&error))
            .tried(file.display().to_string())
            .help("a file that no other node uses, or the name of a new one")
    })?;
    if let Some(aside) = &opened.moved_aside {
        let (file, aside) = (file.display(), aside.display());
        output.line(format!(
            "the address book {file} is damaged: moved to {aside}, starting with an empty one"
        ));
        let record = Record::new("book_moved_aside");
        output.record(&record.text("file", file).text("moved_to", aside));
    }
    Ok(opened.store)
}

/// Shows who is found in the local network, if the node looks.
pub(crate) fn show_neighbours(output: Output, host: &Host) {
    let Some(mut events) = host.mdns().map(mdns::Mdns::events) else {
        return;
    };
    host.swarm().spawn("show neighbours", async move {
        while let Some(event) = events.next().await {
            tell(output, &event);
        }
    });
}

fn tell(output: Output, event: &Event) {
    let (what, peer, addr) = if let Event::Found { peer, addr } = event {
        ("found", peer, addr)
    } else if let Event::Lost { peer, addr } = event {
        ("lost", peer, addr)
    } else {
        return;
    };
    output.line(format!("{what} {addr}"));
    output.record(&Record::new(what).text("peer", peer).text("addr", addr));
}

fn certificate(cert: &Path, key: &Path) -> Result<ServerCertificate, Failure> {
    let read = |file: &Path| {
        fs::read(file).map_err(|error| {
            Failure::new("cannot read the certificate", "start", error)
                .tried(file.display().to_string())
                .help("a file in PEM, which has -----BEGIN in it")
        })
    };
    ServerCertificate::from_pem(&read(cert)?, &read(key)?).map_err(|error| {
        let is_key = matches!(error, websocket::PemError::Key(_));
        let file = if is_key { key } else { cert };
        Failure::new("cannot use the certificate", "start", Chain(&error))
            .tried(file.display().to_string())
            .help("a file in PEM, which has -----BEGIN in it")
    })
}
