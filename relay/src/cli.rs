//! The command line: what was typed, and what it means.

mod run;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::config::{AdmissionMode, Config, ConfigError};

/// Keeps sealed records by topic for Sheaf devices, and can read none of them.
///
/// The first line on standard output is the relay's address; everything else is said on standard
/// error. Settings come from the file, then from SHEAF_RELAY__SECTION__KEY in the environment, then
/// from flags.
#[derive(Debug, Parser)]
#[command(name = "sheaf-relay", version, max_term_width = 100)]
struct Arguments {
    /// TOML file of settings
    #[arg(long, value_name = "FILE", env = "SHEAF_RELAY_CONFIG")]
    config: Option<PathBuf>,
    /// UDP address to listen on; port 0 takes a free one [default: 127.0.0.1:4433]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Directory of keys and store [default: sheaf-relay-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// File of the relay's 32-byte key, made if missing [default: DATA/relay.key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Host that the printed address names
    #[arg(long, value_name = "HOST")]
    public_host: Option<String>,
    /// TCP address of the WebSocket transport, or "off" [default: as --listen]
    #[arg(long, value_name = "ADDR", value_parser = tcp_listen)]
    websocket: Option<TcpListen>,
    /// TCP address of health and metrics, or "off" [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR", value_parser = tcp_listen)]
    http: Option<TcpListen>,
    /// Who may use the relay [default: open]
    #[arg(long, value_name = "MODE", value_parser = admission_mode)]
    admission: Option<AdmissionMode>,
    /// One token a line, for --admission token; read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    tokens_file: Option<PathBuf>,
    /// One device key a line, for --admission allow; read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    allow_file: Option<PathBuf>,
    /// Appends a second that a device can keep up
    #[arg(long, value_name = "COUNT")]
    appends_per_second: Option<u32>,
    /// Appends that a device may make at once after a pause
    #[arg(long, value_name = "COUNT")]
    appends_burst: Option<u32>,
    /// Bytes of records a second and device
    #[arg(long, value_name = "BYTES")]
    bytes_per_second: Option<u32>,
    /// Days that a log record is kept
    #[arg(long, value_name = "DAYS")]
    retention_days: Option<u32>,
    /// Print the address, and log, as JSON
    #[arg(long)]
    json: bool,
    /// Say more; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Say only what went wrong
    #[arg(short, long)]
    quiet: bool,
}

/// Where something is served over TCP, if at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TcpListen {
    Off,
    At(SocketAddr),
}

fn tcp_listen(text: &str) -> Result<TcpListen, std::net::AddrParseError> {
    match text {
        "off" => Ok(TcpListen::Off),
        address => address.parse().map(TcpListen::At),
    }
}

fn admission_mode(text: &str) -> Result<AdmissionMode, &'static str> {
    match text {
        "open" => Ok(AdmissionMode::Open),
        "token" => Ok(AdmissionMode::Token),
        "allow" => Ok(AdmissionMode::Allow),
        _ => Err("expected open, token or allow"),
    }
}

/// How much is said, and in what form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Voice {
    pub(crate) json: bool,
    pub(crate) level: &'static str,
}

impl Arguments {
    fn voice(&self) -> Voice {
        let level = match (self.quiet, self.verbose) {
            (true, _) => "error",
            (false, 0) => "warn,sheaf_relay=info",
            (false, 1) => "info,sheaf_relay=debug",
            (false, _) => "debug,sheaf_relay=trace",
        };
        Voice {
            json: self.json,
            level,
        }
    }

    /// The settings that were meant: file, environment, then what was typed.
    fn settings(self) -> Result<Config, ConfigError> {
        let mut config = Config::load(self.config.as_deref())?;
        set(&mut config.listen, self.listen);
        set(&mut config.data, self.data);
        match self.websocket {
            None => {}
            Some(TcpListen::Off) => config.websocket.enabled = false,
            Some(TcpListen::At(listen)) => {
                config.websocket.enabled = true;
                config.websocket.listen = Some(listen);
            }
        }
        match self.http {
            None => {}
            Some(TcpListen::Off) => config.http.enabled = false,
            Some(TcpListen::At(listen)) => {
                config.http.enabled = true;
                config.http.listen = listen;
            }
        }
        set(&mut config.admission.mode, self.admission);
        set(
            &mut config.limits.appends_per_second,
            self.appends_per_second,
        );
        set(&mut config.limits.appends_burst, self.appends_burst);
        set(&mut config.limits.bytes_per_second, self.bytes_per_second);
        set(&mut config.store.retention_days, self.retention_days);
        config.key = self.key.or(config.key);
        config.public_host = self.public_host.or(config.public_host);
        let admission = &mut config.admission;
        admission.tokens_file = self.tokens_file.or(admission.tokens_file.take());
        admission.allow_file = self.allow_file.or(admission.allow_file.take());
        config.validate()?;
        Ok(config)
    }
}

fn set<T>(place: &mut T, typed: Option<T>) {
    if let Some(value) = typed {
        *place = value;
    }
}

/// The program `sheaf-relay`: reads the command line, runs a relay until a signal ends it.
#[must_use]
pub fn run_cli() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let usage = error.use_stderr();
            // Nobody is left to tell when the terminal is gone.
            let _closed = error.print();
            return ExitCode::from(if usage { run::USAGE } else { run::DONE });
        }
    };
    let voice = arguments.voice();
    run::run(arguments.settings(), voice)
}

#[cfg(test)]
mod tests;
