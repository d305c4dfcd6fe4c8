//! Times as people and scripts read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn of(unix_ms: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms)).unwrap_or_else(SystemTime::now)
}

/// RFC 3339, to the second.
pub(crate) fn moment(unix_ms: u64) -> String {
    humantime::format_rfc3339_seconds(of(unix_ms)).to_string()
}

/// RFC 3339, to the millisecond.
pub(crate) fn moment_ms(unix_ms: u64) -> String {
    humantime::format_rfc3339_millis(of(unix_ms)).to_string()
}
