//! What a process uses, as `/proc` tells it: processor time and resident memory. Zero where the system does not tell.

use std::time::Duration;

/// The unit of processor times in `/proc/PID/stat`: USER_HZ is 100 on every architecture that Linux runs validators on.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of a process since its start, all threads, in user and kernel mode.
pub fn cpu_time(id: u32) -> Duration {
    parse_cpu(&std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default())
}

/// Resident memory of a process in MiB, mapped files included.
pub fn resident_mib(id: u32) -> f64 {
    parse_resident(&std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default())
}

fn parse_cpu(text: &str) -> Duration {
    // The name may hold spaces and brackets; user and system time are the 12th and 13th fields behind it.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u32 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
    TICK * ticks
}

fn parse_resident(text: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0);
    kib / 1_024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let text = "42 (a ) b) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 1 0 5 6 7";
        assert_eq!(parse_cpu(text), Duration::from_secs(2));
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t  2048 kB\n"), 2.0);
        assert_eq!((parse_cpu(""), parse_resident("")), (Duration::ZERO, 0.0));
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let begin = cpu_time(std::process::id());
        let mut sum = 0u64;
        while cpu_time(std::process::id()) <= begin {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(resident_mib(std::process::id()) > 1.0);
    }
}
