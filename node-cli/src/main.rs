//! The program `sheaf`.

fn main() -> std::process::ExitCode {
    sheaf_cli::run()
}
