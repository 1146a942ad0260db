//! Runs a relay as a program: logging, signals, exit codes.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::Voice;
use crate::config::{AdmissionMode, Config, ConfigError};
use crate::key::KeyError;
use crate::relay::{Relay, StartError};
use crate::store::OpenError;

/// Exit codes; docs/OPERATIONS.md lists them.
pub(super) const DONE: u8 = 0;
const FAILED: u8 = 1;
pub(super) const USAGE: u8 = 2;
const STORE_IN_USE: u8 = 11;
const CANNOT_LISTEN: u8 = 13;
const INTEGRITY: u8 = 15;
const INTERRUPTED: u8 = 130;

pub(super) fn run(settings: Result<Config, ConfigError>, voice: Voice) -> ExitCode {
    start_logging(voice);
    let config = match settings {
        Ok(config) => config,
        Err(error) => return fail(&error, USAGE),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(serve(config, voice));
            // A second signal must not wait for what the first one could not end.
            runtime.shutdown_background();
            ExitCode::from(code)
        }
        Err(error) => fail(&error, FAILED),
    }
}

fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    tracing::error!("{error}");
    ExitCode::from(code)
}

fn start_logging(voice: Voice) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(voice.level));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(colour)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Only a second call in one process fails; then the first one's logging stays.
    let _set = if voice.json {
        subscriber.json().try_init()
    } else {
        subscriber.try_init()
    };
}

/// The signals that end a relay.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, std::io::Error> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn serve(config: Config, voice: Voice) -> u8 {
    let (mut signals, mut hangup) = match (Signals::listen(), signal(SignalKind::hangup())) {
        (Ok(signals), Ok(hangup)) => (signals, hangup),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "cannot listen to signals");
            return FAILED;
        }
    };
    let open = config.admission.mode == AdmissionMode::Open;
    if open && !config.listen.ip().is_loopback() {
        tracing::warn!("admission is open on a public address: anybody may use this relay");
    }
    let relay = match Box::pin(Relay::start(config)).await {
        Ok(relay) => relay,
        Err(error) => {
            tracing::error!("{error}");
            return exit_code(&error);
        }
    };
    if announce(&relay, voice).is_err() {
        tracing::warn!("the address could not be written to standard output");
    }
    tracing::info!(address = %relay.address(), http = ?relay.http_address(), "ready");
    loop {
        tokio::select! {
            () = signals.end() => break,
            _ = hangup.recv() => reload(&relay),
        }
    }
    tracing::info!("shutting down; a second signal ends at once");
    tokio::select! {
        () = relay.shutdown() => DONE,
        () = signals.end() => INTERRUPTED,
    }
}

/// Writes the address as the first line on standard output.
fn announce(relay: &Relay, voice: Voice) -> Result<(), std::io::Error> {
    let address = relay.address().to_string();
    let mut stdout = std::io::stdout().lock();
    if voice.json {
        writeln!(stdout, "{}", serde_json::json!({ "address": address }))?;
    } else {
        writeln!(stdout, "{address}")?;
    }
    stdout.flush()
}

fn reload(relay: &Relay) {
    match relay.reload_admission() {
        Ok(closed) => tracing::info!(closed, "admission was read again"),
        Err(error) => tracing::error!(%error, "admission was not read again; the old one stays"),
    }
}

fn exit_code(error: &StartError) -> u8 {
    match error {
        StartError::Config(_) | StartError::Admission(_) => USAGE,
        StartError::Store(OpenError::InUse(_)) => STORE_IN_USE,
        StartError::Bind { .. } => CANNOT_LISTEN,
        StartError::Key(KeyError::Damaged(_)) => INTEGRITY,
        StartError::Key(_)
        | StartError::Store(_)
        | StartError::Tls(_)
        | StartError::Cipher(_)
        | StartError::Thread(_) => FAILED,
    }
}
