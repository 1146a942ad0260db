//! `sheaf run`.

use sheaf_engine::{Engine, EventStream};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;
use crate::request::Settings;
use crate::session::{Reach, with_engine};

use super::event::show_event;

/// Stays connected and prints what happens, until a signal ends it in order.
pub(super) async fn run(settings: &Settings) -> Result<(), Failure> {
    super::sync::expect_relay(settings)?;
    let interrupt = listen(SignalKind::interrupt())?;
    let terminate = listen(SignalKind::terminate())?;
    with_engine(settings, Reach::Online, |engine| async move {
        let events = engine.events();
        settings
            .printer
            .say("connected devices stay in step until Ctrl-C");
        let (mut interrupt, mut terminate) = (interrupt, terminate);
        tokio::select! {
            end = show_all(settings, &engine, events) => end,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    })
    .await
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::failed(format!("cannot listen to signals: {error}")))
}

async fn show_all(
    settings: &Settings,
    engine: &Engine,
    mut events: EventStream,
) -> Result<(), Failure> {
    while let Some(event) = events.next().await {
        show_event(settings, engine, event).await?;
    }
    Err(
        Failure::failed("the engine ended; its store could not be written")
            .advise("look for the reason with -v, make room on the disk, start again"),
    )
}
