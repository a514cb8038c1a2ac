//! The machine: core dumps, swap, file system, space, clock.

use std::path::Path;
use std::time::UNIX_EPOCH;

use rustix::process::{DumpableBehavior, Resource};

use crate::app::doctor::Finding;
use crate::config::Settings;
use crate::kernel::clock::Timestamp;
use crate::store::disk::{Disk as _, RealDisk};

pub(super) fn examine(settings: &Settings, now: Timestamp) -> Vec<Finding> {
    vec![
        core_dumps(
            rustix::process::getrlimit(Resource::Core).current == Some(0),
            matches!(rustix::process::dumpable_behavior(), Ok(DumpableBehavior::NotDumpable)),
            std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default().starts_with('|'),
        ),
        swap(std::fs::read_to_string("/proc/swaps").ok().as_deref()),
        file_system(&settings.data_dir),
        space(settings),
        clock(&settings.data_dir, now),
        user(rustix::process::geteuid().is_root()),
    ]
}

/// What this process has of the right that it takes away from itself first of all. The kernel dumps nothing that is
/// not dumpable (core(5)); else a limit of 0 keeps out files, but no handler that dumps are piped to.
pub(super) fn core_dumps(is_limited: bool, is_undumpable: bool, is_piped: bool) -> Finding {
    let how = if is_piped { "a handler collects core dumps" } else { "core dumps go to files" };
    if is_undumpable && is_limited {
        return Finding::good("core_dumps", format!("{how}; this process has them off, and is not dumpable"));
    }
    let (what, remedy) = if is_undumpable {
        ("their limit could not be set to 0", "set `ulimit -c 0`; with systemd `LimitCORE=0`")
    } else {
        (
            "this process could not be made undumpable",
            "allow prctl(PR_SET_DUMPABLE) where a filter of system calls forbids it",
        )
    };
    let found = format!("{how}, and {what}");
    if is_undumpable || (is_limited && !is_piped) {
        Finding::doubtful("core_dumps", found, remedy)
    } else {
        Finding::harmful("core_dumps", format!("{found}: one would hold keys and tokens"), remedy)
    }
}

pub(super) fn swap(swaps: Option<&str>) -> Finding {
    let Some(swaps) = swaps else {
        let remedy = "look at `swapon --show` on the host; with systemd `MemorySwapMax=0` settles it";
        return Finding::doubtful("swap", "what is swapped to cannot be seen from here", remedy);
    };
    let mut devices = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let plain = devices.find(|device| !device.starts_with("/dev/zram") && !device.starts_with("/dev/dm-"));
    match plain {
        None => Finding::good("swap", "nothing is swapped to a disk in the clear, as far as the names tell"),
        Some(device) => Finding::doubtful(
            "swap",
            format!("`{device}` may take keys and tokens to the disk"),
            "swapoff -a, or swap to an encrypted device; with systemd `MemorySwapMax=0`",
        ),
    }
}

fn file_system(folder: &Path) -> Finding {
    let Ok(stat) = rustix::fs::statfs(folder) else {
        return Finding::doubtful(
            "file_system",
            format!("`{}` cannot be looked at", folder.display()),
            "make it with `valetkey init`",
        );
    };
    judge_file_system(u64::from_ne_bytes(stat.f_type.to_ne_bytes()) & 0xffff_ffff)
}

/// The kernel's magic numbers (statfs(2)).
pub(super) fn judge_file_system(magic: u64) -> Finding {
    let network = match magic {
        0x6969 => Some("NFS"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Some("SMB"),
        0x0102_1997 => Some("9p"),
        0x00c3_6400 => Some("Ceph"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x0116_1970 => Some("GFS2"),
        0x0bd0_0bd0 => Some("Lustre"),
        _ => None,
    };
    let doubtful = match magic {
        0x9123_683e => Some("btrfs: a sync of one file may not be what the drive holds"),
        0x794c_7630 => Some("overlay: what a container writes there ends with it"),
        0x0102_1994 | 0x8584_58f6 => Some("memory: nothing survives the next start of the machine"),
        0x6573_5546 => Some("FUSE: whether a sync reaches a disk is up to its server"),
        _ => None,
    };
    match (network, doubtful) {
        (Some(name), _) => Finding::harmful(
            "file_system",
            format!("the data folder is on {name}: locks and syncs do not hold what the store builds on"),
            "use ext4 or xfs on a local disk, or PostgreSQL for several nodes",
        ),
        (None, Some(words)) => Finding::doubtful(
            "file_system",
            format!("the data folder is on {words}"),
            "use ext4 or xfs on a local disk; for containers a volume",
        ),
        (None, None) => Finding::good("file_system", "a local disk"),
    }
}

fn space(settings: &Settings) -> Finding {
    const MIB: u64 = 1024 * 1024;
    let Ok(free) = RealDisk.free_bytes(&settings.data_dir) else {
        return Finding::doubtful(
            "space",
            "the free space is not known",
            "make the data folder with `valetkey init`",
        );
    };
    let reserve = settings.reserve_bytes;
    let words = format!("{} MiB are free, {} MiB of them reserved", free / MIB, reserve / MIB);
    if free < reserve {
        // Not refused: the service stays up, says 503, and goes on when there is space again.
        return Finding::doubtful(
            "space",
            format!("{words}: every write is refused"),
            "free some space on that disk",
        );
    }
    if free < reserve.saturating_mul(8) {
        return Finding::doubtful(
            "space",
            words,
            "free some space on that disk, or lower `storage.reserve_mib`",
        );
    }
    Finding::good("space", words)
}

/// Without asking anybody, a clock can be shown to be behind, never to be right: what was written here before
/// must not lie in the future. Whether something keeps it in step is told by the marks of the usual daemons.
fn clock(folder: &Path, now: Timestamp) -> Finding {
    let newest =
        ["audit", "store", "keyring.json"].iter().filter_map(|name| newest_below(&folder.join(name))).max();
    let kept =
        ["/run/systemd/timesync/synchronized", "/run/chrony", "/run/ntpd.pid", "/var/run/openntpd.sock"];
    judge_clock(now, newest, kept.iter().any(|mark| Path::new(mark).exists()))
}

pub(super) fn judge_clock(now: Timestamp, newest: Option<Timestamp>, is_kept: bool) -> Finding {
    let ahead = newest.map(|newest| newest.since(now)).unwrap_or_default();
    if ahead.as_secs() > 60 {
        // Not refused: after a clock was ahead and was set right again, this is what is found. What was written
        // meanwhile is taken for stale.
        return Finding::doubtful(
            "clock",
            format!("files in the data folder are {} s ahead of this machine's clock", ahead.as_secs()),
            "if the clock is behind, set it (timedatectl set-ntp true): tokens would live longer than they should; if \
             it was ahead and is right now, there is nothing to do",
        );
    }
    if is_kept {
        return Finding::good("clock", "a daemon keeps it in step; not behind what was written here before");
    }
    Finding::doubtful(
        "clock",
        "nothing here shows that the clock is kept in step; it is not behind what was written here before",
        "run chrony or systemd-timesyncd, here or on the host: tokens are judged by this clock",
    )
}

fn newest_below(path: &Path) -> Option<Timestamp> {
    let modified = |path: &Path| {
        let time = std::fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Timestamp::from_millis(i64::try_from(time.as_millis()).ok()?))
    };
    let below =
        std::fs::read_dir(path).into_iter().flatten().filter_map(|entry| modified(&entry.ok()?.path()));
    below.chain(modified(path)).max()
}

pub(super) fn user(is_root: bool) -> Finding {
    if is_root {
        return Finding::doubtful(
            "user",
            "runs as root, who may do everything on this machine",
            "make a user for it; docs/deploy/valetkey.service does",
        );
    }
    Finding::good("user", "not root")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::Level;

    #[test]
    fn core_dumps_that_could_be_written_are_refused_and_half_a_defence_is_doubtful() {
        let table = [
            ((true, true, false), Level::Good),
            ((true, true, true), Level::Good),
            ((false, true, false), Level::Doubtful),
            ((false, true, true), Level::Doubtful),
            ((true, false, false), Level::Doubtful),
            ((true, false, true), Level::Unsafe),
            ((false, false, false), Level::Unsafe),
            ((false, false, true), Level::Unsafe),
        ];
        for ((is_limited, is_undumpable, is_piped), level) in table {
            let finding = core_dumps(is_limited, is_undumpable, is_piped);
            assert_eq!(finding.level, level, "{finding:?}");
            assert_eq!(finding.remedy.is_empty(), level == Level::Good, "{finding:?}");
        }
    }

    #[test]
    fn network_file_systems_are_refused_and_doubtful_ones_named() {
        for magic in [0x6969, 0xfe53_4d42, 0x0102_1997] {
            assert_eq!(judge_file_system(magic).level, Level::Unsafe, "{magic:x}");
        }
        for magic in [0x9123_683e, 0x794c_7630, 0x0102_1994] {
            assert_eq!(judge_file_system(magic).level, Level::Doubtful, "{magic:x}");
        }
        assert_eq!(judge_file_system(0xef53).level, Level::Good, "ext4");
        assert_eq!(judge_file_system(0x5846_5342).level, Level::Good, "xfs");
    }

    #[test]
    fn swap_is_doubtful_unless_its_name_says_otherwise() {
        let head = "Filename Type Size Used Priority\n";
        assert_eq!(swap(Some("")).level, Level::Good);
        assert_eq!(swap(Some(&format!("{head}/dev/zram0 partition 1 0 1\n"))).level, Level::Good);
        let plain = swap(Some(&format!("{head}/dev/zram0 partition 1 0 1\n/dev/sda2 partition 1 0 1\n")));
        assert_eq!(plain.level, Level::Doubtful);
        assert_eq!(swap(None).level, Level::Doubtful);
        assert!(plain.found.contains("/dev/sda2"));
    }

    #[test]
    fn a_clock_that_is_behind_what_was_written_is_doubtful() {
        let now = Timestamp::from_secs(1_700_000_000);
        let at = |secs: i64| Some(Timestamp::from_secs(1_700_000_000 + secs));
        let behind = judge_clock(now, at(3600), true);
        assert_eq!((behind.level, behind.found.contains("3600 s ahead")), (Level::Doubtful, true));
        assert_eq!(judge_clock(now, at(30), true).level, Level::Good);
        assert_eq!(judge_clock(now, None, false).level, Level::Doubtful);
    }

    #[test]
    fn root_is_doubtful() {
        assert_eq!((user(true).level, user(false).level), (Level::Doubtful, Level::Good));
    }
}
