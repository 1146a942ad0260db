//! What happens, one line an event.

use serde_json::{Value, json};
use sheaf_engine::{ConversationId, Engine, Event, MessageRecord};

use crate::exit::Failure;
use crate::output::harmless;
use crate::request::Settings;
use crate::time::{now_ms, rfc3339};

use super::conversation::role_name;
use super::message::{Names, Shown, names};

/// Prints one event.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no line of its own is not shown"
)]
pub(super) async fn show_event(
    settings: &Settings,
    engine: &Engine,
    event: Event,
) -> Result<(), Failure> {
    match event {
        Event::MessagesReceived {
            conversation,
            messages,
        } => received(settings, engine, conversation, messages).await,
        Event::CaughtUp => {
            settings.home.note_sync(now_ms())?;
            say(
                settings,
                &json!({ "event": "caught_up" }),
                "everything is read",
            )
        }
        other => {
            let Some((value, words)) = describe(&other) else {
                tracing::debug!(event = ?other, "not shown");
                return Ok(());
            };
            say(settings, &value, &words)
        }
    }
}

fn say(settings: &Settings, value: &Value, words: &str) -> Result<(), Failure> {
    settings.printer.show(value, |_| words.to_owned())
}

async fn received(
    settings: &Settings,
    engine: &Engine,
    conversation: ConversationId,
    messages: Vec<MessageRecord>,
) -> Result<(), Failure> {
    let info = engine.conversation_info(conversation).await?;
    let name = info.as_ref().map(|info| harmless(&info.name));
    let name = name.unwrap_or_default();
    let names = info.as_ref().map_or_else(Names::new, names);
    for message in messages {
        let shown = Shown::new(message, &names);
        let words = format!("[{name}] {}", shown.line());
        let event = json!({
            "event": "message_received",
            "conversation": conversation.to_string(),
            "message": shown,
        });
        say(settings, &event, &words)?;
    }
    Ok(())
}

/// An event as an object and as words; `None` for one that says nothing to a person.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no line of its own is not shown"
)]
fn describe(event: &Event) -> Option<(Value, String)> {
    let id = |id: &dyn std::fmt::Display| id.to_string();
    Some(match event {
        Event::MessagesSent {
            conversation,
            messages,
        } => {
            let messages: Vec<String> = messages.iter().map(|message| id(message)).collect();
            let words = format!("{} messages reached the relay", messages.len());
            let conversation = id(conversation);
            (
                json!({ "event": "messages_sent", "conversation": conversation, "messages": messages }),
                words,
            )
        }
        Event::DocumentChanged { conversation } => (
            json!({ "event": "document_changed", "conversation": id(conversation) }),
            format!("the document of {conversation} changed"),
        ),
        Event::ConversationAdded { conversation, by } => (
            json!({
                "event": "conversation_added",
                "conversation": id(conversation),
                "by": by.as_ref().map(|user| id(user)),
            }),
            format!("conversation {conversation} is here"),
        ),
        Event::MemberAdded { conversation, user } => (
            json!({ "event": "member_added", "conversation": id(conversation), "user": id(user) }),
            format!("{user} joined {conversation}"),
        ),
        Event::DeviceAttached {
            conversation,
            user,
            device,
        } => (
            json!({
                "event": "device_attached",
                "conversation": id(conversation),
                "user": id(user),
                "device": id(device),
            }),
            format!("device {device} joined {conversation}"),
        ),
        other => {
            return describe_change(other)
                .or_else(|| describe_fault(other))
                .or_else(|| describe_rest(other));
        }
    })
}

/// What became of members, devices and names.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no line of its own is not shown"
)]
fn describe_change(event: &Event) -> Option<(Value, String)> {
    let id = |id: &dyn std::fmt::Display| id.to_string();
    Some(match event {
        Event::MemberRemoved { conversation, user } => (
            json!({ "event": "member_removed", "conversation": id(conversation), "user": id(user) }),
            format!("{user} is out of {conversation}"),
        ),
        Event::RoleChanged {
            conversation,
            user,
            role,
        } => {
            let role = role_name(*role);
            (
                json!({
                    "event": "role_changed",
                    "conversation": id(conversation),
                    "user": id(user),
                    "role": role,
                }),
                format!("{user} is {role} in {conversation} now"),
            )
        }
        Event::DeviceDetached {
            conversation,
            device,
        } => (
            json!({
                "event": "device_detached",
                "conversation": id(conversation),
                "device": id(device),
            }),
            format!("device {device} is out of {conversation}"),
        ),
        Event::ConversationRenamed { conversation, name } => (
            json!({
                "event": "conversation_renamed",
                "conversation": id(conversation),
                "name": name,
            }),
            format!("{conversation} is called {} now", harmless(name)),
        ),
        Event::ContactDevicesChanged { user, verified } => (
            json!({
                "event": "contact_devices_changed",
                "user": id(user),
                "verified": verified,
            }),
            format!("contact {user} has other devices than before"),
        ),
        _ => return None,
    })
}

/// What others did wrong, and what became of it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no line of its own is not shown"
)]
fn describe_fault(event: &Event) -> Option<(Value, String)> {
    let id = |id: &dyn std::fmt::Display| id.to_string();
    Some(match event {
        Event::ForkJudged {
            conversation,
            device,
            sequence,
        } => (
            json!({
                "event": "fork_judged",
                "conversation": id(conversation),
                "device": id(device),
                "sequence": sequence,
            }),
            format!(
                "device {device} signed several items for place {sequence}; one of them stands"
            ),
        ),
        Event::MessagesSetAside {
            conversation,
            messages,
        } => (
            json!({
                "event": "messages_set_aside",
                "conversation": id(conversation),
                "messages": messages.iter().map(|message| id(message)).collect::<Vec<_>>(),
            }),
            format!("{} messages were set aside with a fork", messages.len()),
        ),
        Event::EditsSetAside {
            conversation,
            messages,
            changes,
        } => (
            json!({
                "event": "edits_set_aside",
                "conversation": id(conversation),
                "messages": messages.iter().map(|message| id(message)).collect::<Vec<_>>(),
                "changes": changes,
            }),
            format!(
                "{} of your messages are written again; up to {changes} other changes were lost to a \
                 fork and have to be made again",
                messages.len()
            ),
        ),
        Event::Misbehaved(misbehaviour) => (
            json!({
                "event": "misbehaved",
                "what": misbehaviour.act.to_string(),
                "by": format!("{:?}", misbehaviour.by),
                "conversation": misbehaviour.conversation.map(|conversation| id(&conversation)),
            }),
            format!("refused: {}", harmless(&misbehaviour.act.to_string())),
        ),
        Event::DeviceQuarantined { device, quarantine } => (
            json!({
                "event": "device_quarantined",
                "device": id(device),
                "why": quarantine.why.to_string(),
                "until": quarantine.until.map(|until| rfc3339(until.0)),
            }),
            format!(
                "device {device} is in quarantine: it {}; what it writes waits",
                quarantine.why
            ),
        ),
        _ => return describe_repair(event).or_else(|| describe_segment(event)),
    })
}

/// What became of old history on this device.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no line of its own is not shown"
)]
fn describe_segment(event: &Event) -> Option<(Value, String)> {
    let id = |id: &dyn std::fmt::Display| id.to_string();
    Some(match event {
        Event::SegmentDropped {
            conversation,
            segment,
            messages,
        } => (
            json!({
                "event": "segment_dropped",
                "conversation": id(conversation),
                "segment": segment,
                "messages": messages,
            }),
            format!("{messages} old messages of {conversation} are not kept here any more"),
        ),
        Event::SegmentDamaged {
            conversation,
            segment,
        } => (
            json!({
                "event": "segment_damaged",
                "conversation": id(conversation),
                "segment": segment,
            }),
            format!("part of {conversation} is damaged here; other devices are asked for it"),
        ),
        Event::SecretsForgotten {
            conversation,
            epochs,
        } => (
            json!({
                "event": "secrets_forgotten",
                "conversation": id(conversation),
                "epochs": epochs,
            }),
            format!("{epochs} keys of {conversation} from before a cut are erased here"),
        ),
        Event::LeftBehind {
            conversation,
            items,
        } => (
            json!({
                "event": "left_behind",
                "conversation": id(conversation),
                "items": items,
            }),
            format!(
                "{items} items written here while you were out of {conversation} may have reached \
                 nobody: what is before a cut is forgotten; write again what matters"
            ),
        ),
        Event::SegmentFetched {
            conversation,
            segment,
            messages,
        } => (
            json!({
                "event": "segment_fetched",
                "conversation": id(conversation),
                "segment": segment,
                "messages": messages,
            }),
            format!("{messages} messages of {conversation} are here again"),
        ),
        _ => return None,
    })
}

/// What is over, and what two devices found when they compared.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no line of its own is not shown"
)]
fn describe_repair(event: &Event) -> Option<(Value, String)> {
    let id = |id: &dyn std::fmt::Display| id.to_string();
    Some(match event {
        Event::QuarantineEnded { device, lifted } => (
            json!({ "event": "quarantine_ended", "device": id(device), "lifted": lifted }),
            format!("device {device} is out of quarantine"),
        ),
        Event::DocumentsDiffer {
            conversation,
            device,
            segments,
        } => (
            json!({
                "event": "documents_differ",
                "conversation": id(conversation),
                "device": id(device),
                "segments": segments,
            }),
            format!("device {device} has the same items of {conversation} and other documents"),
        ),
        Event::Exchanged {
            conversation,
            device,
            missing_here,
            missing_there,
            brought,
            more: false,
        } => (
            json!({
                "event": "exchanged",
                "conversation": id(conversation),
                "device": id(device),
                "missing_here": missing_here,
                "missing_there": missing_there,
                "brought": brought,
            }),
            format!(
                "compared {conversation} with device {device}: {missing_here} were missing here, \
                 {missing_there} there"
            ),
        ),
        _ => return None,
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no line of its own is not shown"
)]
fn describe_rest(event: &Event) -> Option<(Value, String)> {
    let id = |id: &dyn std::fmt::Display| id.to_string();
    Some(match event {
        Event::StoreFailed { reason, full } => (
            json!({ "event": "store_failed", "reason": reason, "full": full }),
            format!("the store failed: {reason}"),
        ),
        Event::DeviceAdded { device, name } => (
            json!({ "event": "device_added", "device": id(device), "name": name }),
            format!("device {} was added: {device}", harmless(name)),
        ),
        Event::ContactAdded { user } => (
            json!({ "event": "contact_added", "user": id(user) }),
            format!("contact {user} was added"),
        ),
        Event::Connected { relay } => (
            json!({ "event": "connected", "relay": id(relay) }),
            "connected".to_owned(),
        ),
        Event::LifeCycleChanged { state, transport } => {
            let over = transport.map(|name| format!(" over {name}"));
            let words = format!("link {}{}", state.name(), over.unwrap_or_default());
            let state = state.name();
            (
                json!({ "event": "life_cycle_changed", "state": state, "transport": transport }),
                words,
            )
        }
        Event::Disconnected { relay } => (
            json!({ "event": "disconnected", "relay": id(relay) }),
            "disconnected; trying again".to_owned(),
        ),
        Event::RelayRefused {
            relay,
            message,
            retry_after_ms,
        } => (
            json!({ "event": "relay_refused", "relay": id(relay), "message": message, "retry_after_ms": retry_after_ms }),
            format!("the relay refused: {}", harmless(message)),
        ),
        Event::EvidenceFound { relay } => (
            json!({ "event": "evidence_found", "relay": id(relay) }),
            "a relay contradicted itself; `sheaf relay evidence` shows the proof".to_owned(),
        ),
        Event::EventsLost { count } => (
            json!({ "event": "events_lost", "count": count }),
            format!("{count} events were not shown"),
        ),
        _ => return None,
    })
}
