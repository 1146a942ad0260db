//! The program `sheaf-relay`.

fn main() -> std::process::ExitCode {
    sheaf_relay::run_cli()
}
