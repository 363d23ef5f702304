//! What the kernel knows of this process: processor time, memory, open files.
//!
//! Read from `/proc` at each scrape; where there is none, the three are left out.

use prometheus::Registry;

use super::name;

/// Clock ticks in a second as `/proc` counts them: fixed to 100 on every Linux port.
const TICKS_PER_SECOND: f64 = 100.0;

/// Registers what could be read.
pub(super) fn measure(registry: &Registry) -> Result<(), prometheus::Error> {
    if let Some(ticks) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(ticks)
    {
        name::PROCESS_CPU.seconds(registry)?.inc_by(f64::from(ticks) / TICKS_PER_SECOND);
    }
    let status = std::fs::read_to_string("/proc/self/status").ok();
    if let Some(bytes) = status.as_deref().and_then(resident_bytes) {
        name::PROCESS_MEMORY.gauge(registry)?.set(bytes);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        // The directory that is being read is open too.
        let open = files.count().saturating_sub(1);
        name::PROCESS_FILES.gauge(registry)?.set(i64::try_from(open).unwrap_or(i64::MAX));
    }
    Ok(())
}

/// User and system time: fields 14 and 15, counted behind the name, which may hold blanks.
fn ticks(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_s_lines_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 90 0 0 0 250 50 0 0 20 0 4 0 9 1 1";
        assert_eq!(super::ticks(stat), Some(300));
        assert_eq!(super::ticks("7 (a"), None);
        assert_eq!(super::ticks("7 (a) S 1"), None);
        assert_eq!(super::resident_bytes("Name: x\nVmRSS:\t  12 kB\n"), Some(12 * 1024));
        assert_eq!(super::resident_bytes("VmRSS: many kB"), None);
    }
}
