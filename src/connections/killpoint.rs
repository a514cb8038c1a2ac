//! Named points of a refresh at which `scripts/torture` kills the process. Release builds have none.

use crate::kernel::ids::ConnectionId;

/// Ends this process as `kill -9` does, when the file that `TORTURE_KILL_AT` names holds this point and
/// this connection: nothing is flushed, no destructor runs.
#[cfg(debug_assertions)]
pub(super) fn reach(point: &str, connection: &ConnectionId) {
    let Some(path) = std::env::var_os("TORTURE_KILL_AT") else { return };
    let armed = std::fs::read_to_string(path).unwrap_or_default();
    if armed.trim_end() == format!("{point} {connection}") {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort();
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub(super) const fn reach(_point: &str, _connection: &ConnectionId) {}
