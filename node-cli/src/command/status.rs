//! `sheaf status`.

use std::time::Duration;

use serde::Serialize;

use crate::exit::Failure;
use crate::output::{harmless, table};
use crate::request::Settings;
use crate::session::{Reach, with_engine};
use crate::time::rfc3339;

use super::conversation::{SegmentHeads, segment_heads};

#[derive(Serialize)]
struct Status {
    user: String,
    name: String,
    device: String,
    device_name: String,
    relay: Option<String>,
    connection: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    pending: u64,
    parked: u64,
    last_sync: Option<String>,
    conversations: Vec<OneConversation>,
}

#[derive(Serialize)]
struct OneConversation {
    conversation: String,
    name: String,
    messages: u64,
    pending: u64,
    segments: Vec<SegmentHeads>,
}

/// Shows connection, pending changes, last sync and heads.
pub(super) async fn status(settings: &Settings, wait: Duration) -> Result<(), Failure> {
    let reach = if wait.is_zero() {
        Reach::Offline
    } else {
        Reach::Online
    };
    settings.home.expect_store()?;
    let relay = settings.home.relay(settings.relay.as_ref())?;
    let remembered = settings.home.remembered()?;
    let status = with_engine(settings, reach, |engine| async move {
        let (connection, reason) = match &relay {
            None => ("no relay", None),
            Some(_) if wait.is_zero() => ("offline", None),
            Some(_) => match engine.wait_connected(wait).await {
                Ok(()) => ("connected", None),
                Err(error) => ("unreachable", Some(error.to_string())),
            },
        };
        let overview = engine.overview().await?;
        let (Some(user), Some(device)) = (overview.user, overview.device) else {
            return Err(super::device::no_account());
        };
        let known = engine.conversations().await?;
        let conversations = known.iter().map(|info| OneConversation {
            conversation: info.conversation.to_string(),
            name: info.name.clone(),
            messages: info.messages,
            pending: info.pending,
            segments: segment_heads(info),
        });
        Ok(Status {
            user: user.to_string(),
            name: overview.name,
            device: device.to_string(),
            device_name: overview.device_name,
            relay: relay.map(|relay| relay.to_string()),
            connection,
            reason,
            pending: overview.pending,
            parked: overview.parked,
            last_sync: remembered.last_sync_ms.map(rfc3339),
            conversations: conversations.collect(),
        })
    })
    .await?;
    settings.printer.show(&status, text)
}

fn text(status: &Status) -> String {
    let rows: Vec<_> = status
        .conversations
        .iter()
        .map(|one| {
            let last = one.segments.last();
            let heads = last.map(|segment| segment.text()).unwrap_or_default();
            vec![
                harmless(&one.name),
                one.messages.to_string(),
                one.pending.to_string(),
                heads,
            ]
        })
        .collect();
    let reason = status
        .reason
        .as_deref()
        .map(|reason| format!(" ({reason})"));
    format!(
        "user        {} {}\ndevice      {} {}\nrelay       {}\nconnection  {}{}\n\
         pending     {}\nparked      {}\nlast sync   {}\n\n{}",
        harmless(&status.name),
        status.user,
        harmless(&status.device_name),
        status.device,
        status.relay.as_deref().unwrap_or("none"),
        status.connection,
        reason.unwrap_or_default(),
        status.pending,
        status.parked,
        status.last_sync.as_deref().unwrap_or("never"),
        table(
            &["conversation", "messages", "pending", "newest heads"],
            &rows
        )
    )
}
