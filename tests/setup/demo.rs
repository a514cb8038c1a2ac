//! The first thing that a newcomer runs.

use crate::deployment::run;

#[test]
fn the_demo_plays_the_main_job_at_all_five_providers() {
    let played = run(&["demo", "--headless", "--listen", "127.0.0.1:0"], &[]).ok();
    assert!(!played.contains('✗'), "{played}");
    for provider in ["dingtalk", "lark", "wecom", "entra", "okta"] {
        assert!(played.contains(provider), "nothing was played at {provider}: {played}");
    }
}
