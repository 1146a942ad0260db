use clap::CommandFactory;

use super::*;

fn typed(arguments: &[&str]) -> Result<Config, String> {
    let arguments = [&["sheaf-relay"], arguments].concat();
    let arguments = Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?;
    arguments.settings().map_err(|error| error.to_string())
}

#[test]
fn the_command_is_well_formed() {
    Arguments::command().debug_assert();
}

#[test]
fn what_is_typed_wins() {
    let config = typed(&[
        "--listen",
        "[::1]:7",
        "--http",
        "off",
        "--data",
        "d",
        "--retention-days",
        "3",
    ]);
    let config = config.unwrap();
    assert_eq!(config.listen.to_string(), "[::1]:7");
    assert!(!config.http.enabled);
    assert_eq!(config.data, PathBuf::from("d"));
    assert_eq!(config.store.retention_days, 3);
    let config = typed(&["--admission", "allow", "--allow-file", "a"]).unwrap();
    assert_eq!(config.admission.mode, AdmissionMode::Allow);
}

#[test]
fn what_makes_no_sense_is_refused() {
    assert!(typed(&["--listen", "somewhere"]).is_err());
    assert!(typed(&["--http", "on"]).is_err());
    assert!(typed(&["--admission", "allow"]).is_err());
    assert!(typed(&["--quiet", "--verbose"]).is_err());
    assert!(typed(&["--appends-burst", "0"]).is_err());
}
