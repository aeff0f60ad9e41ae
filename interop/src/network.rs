//! A local network of two hosts for one cell: two network namespaces with a cable between them.
//! Nothing leaves the machine, and cells that run at the same time do not meet.

use std::{path::PathBuf, time::Instant};

use crate::{
    cell::{Cell, Test},
    process::{Process, Program},
};

/// Where a dialer is.
pub(crate) const NEAR: &str = "10.9.0.1";
/// Where a listener is.
pub(crate) const FAR: &str = "10.9.0.2";
const SCRIPT: &str = include_str!("network.sh");

/// A cable and its ends. Dropping it takes it away.
#[derive(Debug)]
pub(crate) struct Network {
    _script: Process,
    near: String,
    far: String,
}

impl Network {
    /// # Errors
    /// Why there can be none here.
    pub(crate) fn open(log: &PathBuf, until: Instant) -> Result<Self, String> {
        let unshare = Program {
            path: "unshare".into(),
            args: ["--map-root-user", "--net", "sh", "-c", SCRIPT]
                .map(String::from)
                .to_vec(),
        };
        let none = |why: String| format!("no network namespaces with a cable (veth) here: {why}");
        let mut script =
            Process::start(&unshare, &[], log).map_err(|error| none(error.to_string()))?;
        script.wait_for("network", until);
        let ends = script
            .said("network", "near")
            .zip(script.said("network", "far"));
        let Some((near, far)) = ends else {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            return Err(none(said.trim().to_owned()));
        };
        Ok(Self {
            _script: script,
            near,
            far,
        })
    }

    /// The program at the dialer's end of the cable.
    pub(crate) fn near(&self, program: &Program) -> Program {
        inside(&self.near, program)
    }

    /// The program at the listener's end of the cable.
    pub(crate) fn far(&self, program: &Program) -> Program {
        inside(&self.far, program)
    }
}

/// Whether the two ends of a cell meet in a network of their own, instead of on loopback.
pub(crate) fn is_wanted(cell: &Cell) -> bool {
    cell.test == Test::Mdns
}

/// An address on loopback, in the network instead.
pub(crate) fn moved(loopback: &str, to: &str) -> String {
    loopback.replace("127.0.0.1", to)
}

fn inside(process: &str, program: &Program) -> Program {
    let options = ["--target", process, "--user", "--net"].map(String::from);
    let mut args = options.to_vec();
    args.push("--preserve-credentials".into());
    args.push(program.path.display().to_string());
    args.extend(program.args.iter().cloned());
    Program {
        path: "nsenter".into(),
        args,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Transport;

    #[test]
    fn a_program_keeps_its_arguments_inside() {
        let node = Program {
            path: "node".into(),
            args: vec!["peer.js".into()],
        };

        let inside = inside("7", &node);

        assert_eq!(inside.path, PathBuf::from("nsenter"));
        let expected = "--target 7 --user --net --preserve-credentials node peer.js";
        assert_eq!(inside.args.join(" "), expected);
    }

    #[test]
    fn addresses_of_the_network_are_those_of_loopback_elsewhere() {
        let moved = moved(Transport::Quic.listen_addr(), FAR);

        assert_eq!(moved, "/ip4/10.9.0.2/udp/0/quic-v1");
    }
}
