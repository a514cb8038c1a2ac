//! Plays the employee and the agent through the whole main job, over real sockets, for every provider.

mod agent;
pub mod browser;
mod script;
mod steps;

pub use script::{Act, act_for};

use std::time::Instant;

use anyhow::bail;

use crate::app::demo::headless::steps::Stage;
use crate::app::demo::{Demo, cast};

/// Plays; each step is handed to `print` as a line with ✓ or ✗ and its time.
///
/// # Errors
/// When any step failed.
pub async fn play(demo: &Demo, mut print: impl FnMut(String)) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut stage = Stage::set(demo)?;
    let mut failed = 0;
    for provider in cast::PROVIDERS {
        print(provider.to_owned());
        failed += stage.play(provider, &mut print).await;
    }
    print("audit log".to_owned());
    failed += stage.check_log(&mut print).await;
    let took = began.elapsed().as_secs_f32();
    if failed > 0 {
        bail!("{failed} step(s) failed, after {took:.1} s");
    }
    print(format!("every step worked, in {took:.1} s"));
    Ok(())
}

/// The employee consents to the personal agent at some providers, and nothing else happens.
///
/// # Errors
/// When a step failed.
pub async fn connect(demo: &Demo, providers: &[&str]) -> anyhow::Result<()> {
    let mut stage = Stage::set(demo)?;
    for provider in providers {
        stage.connect(provider).await?;
    }
    Ok(())
}
