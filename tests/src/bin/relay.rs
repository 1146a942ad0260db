//! The program `sheaf-relay`, built where the tests can find it.

fn main() -> std::process::ExitCode {
    sheaf_relay::run_cli()
}
