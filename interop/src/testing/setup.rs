//! The variables of the contracts. Pure: names in, values out.

use std::{str::FromStr, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(180);
const GIB: u64 = 1 << 30;

/// What a test application is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) dialer: bool,
    /// Whether it is the older contract.
    pub(super) legacy: bool,
    /// `host:port`.
    pub(super) redis: String,
    /// Where the listener's address is.
    pub(super) key: String,
    pub(super) transport: String,
    /// `None` for a transport that is secure by itself.
    pub(super) security: Option<String>,
    /// `None` for a transport that has streams by itself.
    pub(super) muxer: Option<String>,
    pub(super) listener_ip: String,
    /// For everything that a dialer does, and for redis. Default: 180 s.
    pub(super) timeout: Duration,
    /// Default: 1 GiB.
    pub(super) upload_bytes: u64,
    /// Default: 1 GiB.
    pub(super) download_bytes: u64,
    /// Default: 10.
    pub(super) upload_iterations: usize,
    /// Default: 10.
    pub(super) download_iterations: usize,
    /// Default: 100.
    pub(super) latency_iterations: usize,
}

/// Why the environment names no test.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SetupError {
    /// It has to be there.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// It has to make sense.
    #[error("{name} is {value:?}")]
    Wrong { name: &'static str, value: String },
}

impl Setup {
    /// Reads variables with `lookup`. Lower-case names mean the older contract.
    pub(super) fn from(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SetupError> {
        let legacy = lookup("IS_DIALER").is_none() && lookup("is_dialer").is_some();
        let name = |modern, older| if legacy { older } else { modern };
        // An unset value is written as `null` by the suite's generator.
        let get = |name: &str| lookup(name).filter(|it| !it.is_empty() && it != "null");
        let need = |name: &'static str| get(name).ok_or(SetupError::Missing(name));
        let dialer = name("IS_DIALER", "is_dialer");
        let redis = match legacy {
            true => get("redis_addr").unwrap_or_else(|| "redis:6379".into()),
            false => need("REDIS_ADDR")?,
        };
        let key = match legacy {
            true => "listenerAddr".into(),
            false => format!("{}_listener_multiaddr", need("TEST_KEY")?),
        };
        let timeout = name("TEST_TIMEOUT_SECS", "test_timeout_seconds");
        Ok(Self {
            dialer: parse(dialer, &need(dialer)?)?,
            legacy,
            redis,
            key,
            transport: need(name("TRANSPORT", "transport"))?,
            security: get(name("SECURE_CHANNEL", "security")),
            muxer: get(name("MUXER", "muxer")),
            listener_ip: get(name("LISTENER_IP", "ip")).unwrap_or_else(|| "0.0.0.0".into()),
            timeout: match get(timeout) {
                Some(seconds) => Duration::from_secs(parse(timeout, &seconds)?),
                None => TIMEOUT,
            },
            upload_bytes: number(&get, "UPLOAD_BYTES", GIB)?,
            download_bytes: number(&get, "DOWNLOAD_BYTES", GIB)?,
            upload_iterations: number(&get, "UPLOAD_ITERATIONS", 10)?,
            download_iterations: number(&get, "DOWNLOAD_ITERATIONS", 10)?,
            latency_iterations: number(&get, "LATENCY_ITERATIONS", 100)?,
        })
    }
}

fn number<T: FromStr>(
    get: &impl Fn(&str) -> Option<String>,
    name: &'static str,
    default: T,
) -> Result<T, SetupError> {
    get(name).map_or(Ok(default), |value| parse(name, &value))
}

fn parse<T: FromStr>(name: &'static str, value: &str) -> Result<T, SetupError> {
    value.parse().map_err(|_| SetupError::Wrong {
        name,
        value: value.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_the_suite_are_understood() {
        let setup = setup(&[
            ("IS_DIALER", "true"),
            ("REDIS_ADDR", "transport-redis:6379"),
            ("TEST_KEY", "a5b50d5e"),
            ("TRANSPORT", "tcp"),
            ("SECURE_CHANNEL", "noise"),
            ("MUXER", "yamux"),
            ("UPLOAD_ITERATIONS", "null"),
            ("LATENCY_ITERATIONS", "7"),
        ])
        .unwrap();

        assert!(setup.dialer && !setup.legacy);
        assert_eq!(setup.key, "a5b50d5e_listener_multiaddr");
        assert_eq!(setup.security.as_deref(), Some("noise"));
        assert_eq!((setup.upload_iterations, setup.latency_iterations), (10, 7));
        assert_eq!(setup.upload_bytes, 1_073_741_824);
        assert_eq!(setup.timeout, Duration::from_secs(180));
    }

    #[test]
    fn lower_case_variables_are_the_older_contract() {
        let setup = setup(&[
            ("is_dialer", "false"),
            ("transport", "tcp"),
            ("security", "noise"),
            ("muxer", "mplex"),
            ("ip", "10.0.0.1"),
            ("test_timeout_seconds", "20"),
        ])
        .unwrap();

        assert!(!setup.dialer && setup.legacy);
        assert_eq!((&*setup.redis, &*setup.key), ("redis:6379", "listenerAddr"));
        assert_eq!(setup.listener_ip, "10.0.0.1");
        assert_eq!(setup.timeout, Duration::from_secs(20));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let missing = setup(&[("IS_DIALER", "true")]);
        let wrong = setup(&[
            ("IS_DIALER", "perhaps"),
            ("REDIS_ADDR", "r:1"),
            ("TEST_KEY", "k"),
        ]);

        assert_eq!(missing, Err(SetupError::Missing("REDIS_ADDR")));
        assert_eq!(wrong.unwrap_err().to_string(), "IS_DIALER is \"perhaps\"");
    }

    fn setup(variables: &[(&str, &str)]) -> Result<Setup, SetupError> {
        Setup::from(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }
}
