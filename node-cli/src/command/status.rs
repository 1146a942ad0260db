//! `sheaf status`.

use std::time::Duration;

use serde::Serialize;
use sheaf_engine::{ConversationInfo, DeviceInfo, RelayStatus, Transport, UserId};

use crate::exit::Failure;
use crate::output::{harmless, table};
use crate::request::Settings;
use crate::session::{Reach, is_revoked, no_account, with_engine};
use crate::time::rfc3339;

use super::conversation::{SegmentHeads, segment_heads};
use super::progress::{Shown, coming};

#[derive(Serialize)]
struct Status {
    user: String,
    name: String,
    device: String,
    device_name: String,
    relays: Vec<String>,
    connection: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tried_again: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_failed: Option<String>,
    pending: u64,
    parked: u64,
    last_sync: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unconfirmed: Vec<Unconfirmed>,
    progress: Shown,
    /// In words, where it is not done.
    #[serde(skip)]
    coming: Option<String>,
    conversations: Vec<OneConversation>,
}

/// A relay that has left records without a receipt for half a minute or longer.
#[derive(Serialize)]
struct Unconfirmed {
    relay: String,
    records: u64,
    since: String,
}

#[derive(Serialize)]
struct OneConversation {
    conversation: String,
    name: String,
    messages: u64,
    pending: u64,
    synced: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    out: bool,
    lacking: Vec<Lacking>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<String>,
    segments: Vec<SegmentHeads>,
}

/// A device that has not said to have everything.
#[derive(Serialize)]
struct Lacking {
    device: String,
    name: String,
    items: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differs: Vec<u32>,
    last_seen: Option<String>,
}

fn unconfirmed(relays: &[RelayStatus]) -> Vec<Unconfirmed> {
    let late = relays.iter().filter_map(|status| {
        let (records, since) = status.unconfirmed?;
        Some(Unconfirmed {
            relay: status.address.to_string(),
            records,
            since: rfc3339(since.0),
        })
    });
    late.collect()
}

/// Whether the account is no member of a conversation any more, or this device none of the account.
pub(super) fn is_out(
    info: &ConversationInfo,
    user: Option<UserId>,
    devices: &[DeviceInfo],
) -> bool {
    let mut members = info.members.iter();
    is_revoked(devices) || !members.any(|(member, ..)| Some(*member) == user)
}

fn one_conversation(info: &ConversationInfo, out: bool) -> OneConversation {
    OneConversation {
        conversation: info.conversation.to_string(),
        name: info.name.clone(),
        messages: info.messages,
        pending: info.pending,
        synced: info.synced && !out,
        out,
        // Those who are in do not tell those who are out.
        lacking: if out { Vec::new() } else { lacking(info) },
        waiting: info.waiting.clone(),
        segments: segment_heads(info),
    }
}

fn lacking(info: &ConversationInfo) -> Vec<Lacking> {
    let behind = info.peers.iter().filter(|peer| !peer.has_everything());
    let behind = behind.map(|peer| Lacking {
        device: peer.device.to_string(),
        name: peer.name.clone(),
        items: peer.lacks,
        differs: peer.differs.clone(),
        last_seen: peer.last_seen.map(|time| rfc3339(time.0)),
    });
    behind.collect()
}

/// Shows connection, pending changes, last sync and heads.
pub(super) async fn status(settings: &Settings, wait: Duration) -> Result<(), Failure> {
    let reach = if wait.is_zero() {
        Reach::Offline
    } else {
        Reach::Online
    };
    settings.home.expect_store()?;
    let relays = settings.home.relays(&settings.relays)?;
    let remembered = settings.home.remembered()?;
    with_engine(settings, reach, |engine| async move {
        let (connection, reason) = match relays.is_empty() {
            true => ("no relay", None),
            false if wait.is_zero() => ("offline", None),
            false => match engine.wait_connected(wait).await {
                Ok(()) => {
                    // What is shown is more telling once the relay was read to its end.
                    if let Err(error) = engine.wait_settled(wait).await {
                        tracing::debug!(%error, "shown before everything is exchanged");
                    }
                    ("connected", None)
                }
                Err(error) => ("unreachable", Some(error.to_string())),
            },
        };
        let link = engine.link_status();
        let overview = engine.overview().await?;
        let (Some(user), Some(device)) = (overview.user, overview.device) else {
            return Err(no_account());
        };
        let known = engine.conversations().await?;
        let progress = engine.progress().await?;
        let devices = engine.devices().await?;
        let conversations = known
            .iter()
            .map(|info| one_conversation(info, is_out(info, Some(user), &devices)));
        let status = Status {
            user: user.to_string(),
            name: overview.name,
            device: device.to_string(),
            device_name: overview.device_name,
            relays: relays.iter().map(ToString::to_string).collect(),
            connection,
            transport: link.transport.map(Transport::name),
            tried_again: link.retry_at.map(|at| rfc3339(at.0)),
            reason,
            pending: overview.pending,
            parked: overview.parked,
            last_sync: remembered.last_sync_ms.map(rfc3339),
            coming: coming(&progress),
            progress: progress.into(),
            unconfirmed: unconfirmed(&engine.relays().await?),
            store_failed: engine.store_failure().await?,
            conversations: conversations.collect(),
        };
        // Before the store is closed, which may fail.
        settings.printer.show(&status, text)
    })
    .await
}

/// In words: synced only where it is proved.
fn state(one: &OneConversation) -> String {
    if one.synced {
        return "synced".to_owned();
    }
    match (one.out, one.pending) {
        (true, 0) => return "takes no part any more".to_owned(),
        (true, unsent) => return format!("takes no part any more, {unsent} not sent"),
        (false, 0) => {}
        (false, pending) => return format!("{pending} to send"),
    }
    if let Some(reason) = one.waiting.first() {
        return format!("waits for {reason}");
    }
    let lacks = |lacking: &Lacking| format!("{} lacks {}", harmless(&lacking.name), lacking.items);
    match one.lacking.as_slice() {
        [] => "not read to the end".to_owned(),
        [one] if one.items == 0 => format!("{} has other documents", harmless(&one.name)),
        [one] => lacks(one),
        [one, rest @ ..] => format!("{} and {} more", lacks(one), rest.len()),
    }
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
                state(one),
                heads,
            ]
        })
        .collect();
    let reason = status
        .reason
        .as_deref()
        .map(|reason| format!(" ({reason})"));
    let relays = match status.relays.as_slice() {
        [] => "none".to_owned(),
        relays => relays.join(" "),
    };
    let unconfirmed = status.unconfirmed.iter().map(|late| {
        let Unconfirmed {
            relay,
            records,
            since,
        } = late;
        format!("unconfirmed {records} records since {since} by {relay}\n")
    });
    let unconfirmed: String = unconfirmed.collect();
    let over = status.transport.map(|name| format!(" over {name}"));
    let again = status
        .tried_again
        .as_deref()
        .map(|at| format!("; tried again at {at}"));
    let failed = status.store_failed.as_deref();
    let failed = failed.map(|reason| format!("store       failed: {reason}\n"));
    let coming = status.coming.as_deref();
    let coming = coming.map(|words| format!("progress    {words}\n"));
    format!(
        "user        {} {}\ndevice      {} {}\nrelay       {}\nconnection  {}{}{}{}\n\
         pending     {}\nparked      {}\nlast sync   {}\n{}{}{}\n{}",
        harmless(&status.name),
        status.user,
        harmless(&status.device_name),
        status.device,
        relays,
        status.connection,
        over.unwrap_or_default(),
        reason.unwrap_or_default(),
        again.unwrap_or_default(),
        status.pending,
        status.parked,
        status.last_sync.as_deref().unwrap_or("never"),
        failed.unwrap_or_default(),
        coming.unwrap_or_default(),
        unconfirmed,
        table(
            &[
                "conversation",
                "messages",
                "pending",
                "state",
                "newest heads"
            ],
            &rows
        )
    )
}
