//! How much memory this process took at most.

/// The peak of the resident memory in bytes, where the system tells (Linux).
pub(crate) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    peak_in(&status)
}

fn peak_in(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_found_among_the_other_lines() {
        let status = "Name:\tp2p\nVmPeak:\t   9 kB\nVmHWM:\t  1234 kB\nVmRSS:\t   1 kB\n";
        assert_eq!(peak_in(status), Some(1234 * 1024));
        assert_eq!(peak_in("Name:\tp2p\n"), None);
        assert_eq!(peak_in("VmHWM:\tmuch kB\n"), None);
    }
}
