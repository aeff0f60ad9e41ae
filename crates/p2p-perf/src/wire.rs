//! What stands in front of the upload.
//!
//! ```text
//!   Plain:  | download (u64) |
//!   Both:   | upload (u64) | download (u64) |        big-endian
//! ```

use p2p_core::Protocol;

/// The id of perf for multistream-select.
pub const PROTOCOL: Protocol = Protocol::from_static("/perf/1.0.0");

/// What to move, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To the server.
    pub upload: u64,
    /// To the client, after the upload.
    pub download: u64,
}

/// What stands in front of the upload. Both ends must use the same; the wire does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// The length of the download: the spec's form. The upload ends with its direction.
    #[default]
    Plain,
    /// The lengths of upload and download, as some test suites have it.
    Both,
}

impl Form {
    /// Length of the header, in bytes.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Plain => 8,
            Self::Both => 16,
        }
    }

    pub(crate) fn encode(self, plan: Plan) -> Vec<u8> {
        let (upload, download) = (plan.upload.to_be_bytes(), plan.download.to_be_bytes());
        match self {
            Self::Plain => download.to_vec(),
            Self::Both => [upload, download].concat(),
        }
    }

    /// Upload, if the header tells, and download. `header` has [`Form::len`] bytes.
    pub(crate) fn decode(self, header: &[u8]) -> (Option<u64>, u64) {
        let last = header.last_chunk().copied().map_or(0, u64::from_be_bytes);
        let first = header.first_chunk().copied().map_or(0, u64::from_be_bytes);
        match self {
            Self::Plain => (None, last),
            Self::Both => (Some(first), last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn headers_decode_to_what_was_encoded(upload: u64, download: u64) {
            let plan = Plan { upload, download };
            let plain = Form::Plain.encode(plan);
            prop_assert_eq!(plain.len(), Form::Plain.len());
            prop_assert_eq!(Form::Plain.decode(&plain), (None, download));
            let both = Form::Both.encode(plan);
            prop_assert_eq!(both.len(), Form::Both.len());
            prop_assert_eq!(Form::Both.decode(&both), (Some(upload), download));
        }
    }
}
