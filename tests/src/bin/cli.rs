//! The program `sheaf`, built where the tests can find it.

fn main() -> std::process::ExitCode {
    sheaf_cli::run()
}
