//! `sheaf epoch`.

use serde::Serialize;
use sheaf_engine::{ConversationInfo, EpochId};

use crate::exit::Failure;
use crate::output::table;
use crate::request::Settings;
use crate::resolve;
use crate::session::{Reach, change_reach, let_go, with_engine};

#[derive(Serialize)]
struct Epoch {
    epoch: String,
    held: bool,
    writing: bool,
}

fn epoch(info: &ConversationInfo, epoch: EpochId, held: bool) -> Epoch {
    Epoch {
        epoch: epoch.to_string(),
        held,
        writing: info.writing == Some(epoch),
    }
}

/// Lists the epochs of a conversation.
pub(super) async fn list(settings: &Settings, typed: String) -> Result<(), Failure> {
    let info = with_engine(settings, Reach::Offline, |engine| async move {
        Ok(resolve::conversation(&engine, &typed).await?.1)
    })
    .await?;
    let epochs = info.epochs.iter();
    let epochs: Vec<Epoch> = epochs.map(|(id, held)| epoch(&info, *id, *held)).collect();
    settings.printer.list(&epochs, |epochs| {
        let rows: Vec<_> = epochs
            .iter()
            .map(|epoch| {
                let held = if epoch.held { "held" } else { "missing" };
                let writing = if epoch.writing { "writing" } else { "" };
                vec![held.to_owned(), writing.to_owned(), epoch.epoch.clone()]
            })
            .collect();
        table(&["secret", "", "epoch"], &rows)
    })
}

/// Draws a new epoch.
pub(super) async fn rotate(settings: &Settings, typed: String) -> Result<(), Failure> {
    with_engine(settings, change_reach(settings)?, |engine| async move {
        let (conversation, _) = resolve::conversation(&engine, &typed).await?;
        let drawn = conversation.rotate().await?;
        let (_, info) = resolve::conversation(&engine, &conversation.id().to_string()).await?;
        let held = info.epochs.contains(&(drawn, true));
        let shown = epoch(&info, drawn, held);
        settings
            .printer
            .show(&shown, |shown| format!("the epoch is {} now", shown.epoch))?;
        let_go(settings, &engine).await
    })
    .await
}
