//! `sheaf sync barrier`.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::{CONNECT_MAX, expect_relay};
use crate::exit::{Code, Failure};
use crate::output::{harmless, table};
use crate::request::Settings;
use crate::session::{Reach, connect, expect_not_revoked, with_engine};

#[derive(Serialize)]
struct Behind {
    conversation: String,
    device: String,
    name: String,
}

#[derive(Serialize)]
struct Passed {
    durable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    everywhere: Option<bool>,
    missing: Vec<Behind>,
}

pub(super) async fn barrier(
    settings: &Settings,
    everywhere: bool,
    timeout: Duration,
) -> Result<(), Failure> {
    expect_relay(settings)?;
    let passed = with_engine(settings, Reach::Online, |engine| async move {
        let deadline = Instant::now() + timeout;
        connect(&engine, timeout.min(CONNECT_MAX)).await?;
        expect_not_revoked(&engine).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let barrier = engine.barrier(everywhere, left).await?;
        let known = engine.conversations().await?;
        let missing = barrier.behind.iter().map(|(conversation, device)| {
            let info = known.iter().find(|info| info.conversation == *conversation);
            let peers = info.into_iter().flat_map(|info| &info.peers);
            let peer = peers.clone().find(|peer| peer.device == *device);
            Behind {
                conversation: conversation.to_string(),
                device: device.to_string(),
                name: peer.map(|peer| peer.name.clone()).unwrap_or_default(),
            }
        });
        Ok(Passed {
            durable: barrier.durable,
            everywhere: everywhere.then_some(barrier.durable && barrier.behind.is_empty()),
            missing: missing.collect(),
        })
    })
    .await?;
    settings.printer.show(&passed, |passed| {
        let row = |behind: &Behind| vec![behind.conversation.clone(), harmless(&behind.name)];
        let rows: Vec<_> = passed.missing.iter().map(row).collect();
        match (passed.durable, passed.everywhere) {
            (false, _) => "not everything is durable at the relay".to_owned(),
            (true, None) => "durable at the relay".to_owned(),
            (true, Some(true)) => "on every device".to_owned(),
            (true, Some(false)) => format!(
                "durable at the relay; not yet on:\n{}",
                table(&["conversation", "device"], &rows)
            ),
        }
    })?;
    if passed.durable && passed.everywhere != Some(false) {
        return Ok(());
    }
    let failure = Failure::new(Code::Partial, "the barrier was not reached in time");
    Err(failure
        .advise("devices that are away say so when they come back; `sheaf status` lists them"))
}
