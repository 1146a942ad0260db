//! The program: reads the command line, runs one command, turns its end into an exit code.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::arguments::Arguments;
use crate::command;
use crate::exit::{Code, Failure};
use crate::output;
use crate::request::{Request, Settings};

/// The program `sheaf`.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() {
                Code::Usage
            } else {
                Code::Done
            };
            // Nobody is left to tell when the terminal is gone.
            let _closed = error.print();
            return code.into();
        }
    };
    start_logging(arguments.global.quiet, arguments.global.verbose);
    let json = arguments.global.json;
    match arguments
        .interpret()
        .and_then(|(settings, request)| execute(&settings, request))
    {
        Ok(()) => Code::Done.into(),
        Err(failure) => {
            tell(&failure, json);
            failure.code.into()
        }
    }
}

fn tell(failure: &Failure, json: bool) {
    if failure.is_silent() {
        return;
    }
    if json {
        let code = failure.code as u8;
        let error = serde_json::json!({ "error": failure.to_string(), "code": code });
        output::say(&error.to_string());
    } else {
        output::say(&format!("error: {failure}"));
    }
}

fn start_logging(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        (true, _) => "off",
        // What sled complains of comes back as an error with an exit code.
        (false, 0) => "error,sled=off",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(output::colour())
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Only a second call in one process fails; then the first one's logging stays.
    let _set = subscriber.try_init();
}

fn execute(settings: &Settings, request: Request) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    // It ends in order by itself when interrupted.
    let orderly = matches!(request, Request::Run { .. });
    let end = runtime.block_on(async {
        let work = Box::pin(command::execute(settings, request));
        if orderly {
            return work.await;
        }
        tokio::select! {
            end = work => end,
            interrupted = tokio::signal::ctrl_c() => match interrupted {
                Ok(()) => Err(Failure::silent(Code::Interrupted)),
                Err(error) => Err(Failure::failed(format!("cannot listen to signals: {error}"))),
            },
        }
    });
    // A thread may still wait for standard input; what is durable is durable.
    runtime.shutdown_background();
    end
}
